"""What is still whole behind damage in a segment of the spool.

Frames carry checksums but no numbers, and payloads hold what clients sent, perhaps made to look like a frame. So
nothing behind damage is believed unless the books balance: it is known how many records there must have been, and those
found leave at least one lost for every damaged stretch. A forged frame inside of a damaged record makes one too many.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from mainspring.runtime import segments

_MARK = segments.pack_records([b""])[:3]
# Anything may look like the beginning of a frame, and each look costs a checksum over as many bytes as it claims: so
# all looks together may cost no more than this many passes over the bytes.
_MAX_PASSES = 16


class Row(msgspec.Struct, frozen=True):
    """Whole frames one after another, from ``begin`` up to ``end``; ``records`` counts them without the seal."""

    begin: int
    end: int
    records: int


class Stretch(msgspec.Struct, frozen=True):
    """Damaged bytes from ``begin`` up to ``end``, and how many records are missing in them (None: nothing tells)."""

    begin: int
    end: int
    records: int | None


def rows_in(tail: bytes) -> Iterator[Row]:
    """Yield the rows of whole frames in *tail*, which begins with damage."""
    left, at = _MAX_PASSES * len(tail), tail.find(_MARK, 1)
    while at >= 0 and left > 0:
        left -= segments.FRAME_BYTES + _claimed(tail, at)
        first = segments.parse(tail, 1, at)
        if not first.records and first.ending != "sealed":
            at = tail.find(_MARK, at + 1)
            continue
        row = segments.parse(tail, len(tail), at)
        yield Row(at, row.offset, len(row.records))
        if row.ending == "sealed":
            return
        at = tail.find(_MARK, row.offset + 1)


def stretches(rows: list[Row], size: int, lost: int | None, *, headless: bool) -> list[Stretch]:
    """Give the damaged stretches between *rows* in a tail of *size* bytes that held *lost* records.

    Where there are several, only the sum is sure: each is said to have lost one record, the last the rest. *headless*:
    the tail begins with the header of the segment, so the first one may have lost none. Gives one stretch of all the
    bytes where *lost* is not known or the books do not balance.
    """
    begins, ends = [0, *(row.end for row in rows)], [*(row.begin for row in rows), size]
    damaged = [(begin, end) for begin, end in zip(begins, ends, strict=True) if begin < end]
    least = [1] * len(damaged)
    if headless:
        least[0] = 0
    if damaged[-1][0] == begins[-1]:
        # What follows the last row may have been nothing but the seal.
        least[-1] = 0
    if lost is None or (spare := lost - sum(row.records for row in rows) - sum(least)) < 0:
        return [Stretch(0, size, lost)]
    least[-1] += spare
    return [Stretch(begin, end, count) for (begin, end), count in zip(damaged, least, strict=True)]


def _claimed(tail: bytes, at: int) -> int:
    length = int.from_bytes(tail[at + 4 : at + 8], "little")
    return length if at + segments.FRAME_BYTES + length <= len(tail) else 0
