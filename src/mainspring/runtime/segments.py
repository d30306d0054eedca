"""The bytes of a spool: segment files of framed records, each with a checksum, and how damage in them is told.

A segment is named ``<number of its first record, 20 digits>.seg`` and holds

    header   8s magic "MSSPOOL1" | u64 number of its first record | u64 number after the last record of the segment
             before (0: not known) | u32 CRC-32 of the 24 bytes before
    frame    4s mark | u32 length | u32 CRC-32 of the payload, seeded with length ^ 0x4D535052 | payload  (any number)
    seal     a frame with the other mark, whose payload is the u64 number after the last record      (if it ended well)

all little-endian. The marks hold a byte that UTF-8 never has, so that text in a record does not look like a frame.
A record's number is ``epoch << 36 | count``; every opening of a writer takes a new epoch, so no number comes twice even
when a power cut takes back records that a reader had seen already.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from mainspring.core.errors import Unsupported

SUFFIX = ".seg"
_EPOCH_SHIFT = 36
_HEADER = struct.Struct("<8sQQI")
_FRAME = struct.Struct("<4sII")
_NUMBER = struct.Struct("<Q")
_MAGIC = b"MSSPOOL1"
_RECORD_MARK = b"\xf5MSr"
# Without it, the checksum of an empty record is 0, and a stretch of zeros after a mark passes for one.
_SEED = 0x4D535052
_SEAL_MARK = b"\xf5MSs"
HEADER_BYTES = _HEADER.size
FRAME_BYTES = _FRAME.size
_SEARCH_PASSES = 16
SEAL_BYTES = FRAME_BYTES + _NUMBER.size

Ending = Literal["short", "sealed", "bad", "full"]


class Position(msgspec.Struct, frozen=True, order=True):
    """A place between two records of one writer: everything before it was read.

    Positions of one writer compare in the order of its records. ``record`` is the number of the next record, so
    ``record - 1`` is that of the last one read.
    """

    writer: str
    segment: int
    offset: int
    record: int


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of a segment that could not be read as records.

    ``torn``: the end of a segment whose writer died or ran out of disk in the middle of an append, which therefore was
    never acknowledged. ``corrupt``: bytes that had been written whole are no longer what they were. The bytes from
    ``offset`` on were copied to the file ``quarantine`` (empty: there were none to copy). ``records`` is how many
    records are missing, None where nothing tells.
    """

    kind: Literal["torn", "corrupt"]
    writer: str
    segment: int
    offset: int
    bytes: int
    records: int | None
    quarantine: str


class Parsed(msgspec.Struct, frozen=True):
    """Records found in a row, the offset after the last of them, and why the row ended.

    ``short``: the next frame is not there whole; ``needed`` is how many bytes it has (0: not even its length is there).
    ``sealed``: a seal came, ``offset`` is after it and ``end`` is the number that it holds.
    ``bad``: the next frame is not one. ``full``: the limit was reached.
    """

    records: list[bytes]
    offset: int
    ending: Ending
    needed: int = 0
    end: int = 0


def epoch_of(number: int) -> int:
    """Give the epoch that a record number belongs to."""
    return number >> _EPOCH_SHIFT


def first_of(epoch: int) -> int:
    """Give the first record number of an epoch."""
    return epoch << _EPOCH_SHIFT


def pack_header(first: int, previous_end: int) -> bytes:
    """Give the header of a segment whose first record has this number."""
    body = _HEADER.pack(_MAGIC, first, previous_end, 0)[:-4]
    return body + struct.pack("<I", zlib.crc32(body))


def unpack_header(header: bytes, first: int) -> int | None:
    """Give the number where the segment before ended (0: not known); None when this does not head a segment *first*.

    Raises Unsupported when another version of Mainspring wrote the segment: it must be read by that one.
    """
    if len(header) < HEADER_BYTES:
        return None
    magic, number, previous_end, checksum = _HEADER.unpack(header)
    if checksum != zlib.crc32(header[:-4]):
        return None
    if magic != _MAGIC and magic[:7] == _MAGIC[:7]:
        raise Unsupported(
            f"spool segment {first} has format {magic!r}, expected {_MAGIC!r}: ingest it with its version"
        )
    return int(previous_end) if magic == _MAGIC and number == first else None


def pack_records(records: Sequence[bytes]) -> bytes:
    """Give the frames of these records, one after another."""
    pack, crc32 = _FRAME.pack, zlib.crc32
    parts: list[bytes] = []
    for record in records:
        size = len(record)
        parts.append(pack(_RECORD_MARK, size, crc32(record, size ^ _SEED)))
        parts.append(record)
    return b"".join(parts)


def pack_seal(end: int) -> bytes:
    """Give the seal of a segment after whose last record comes number *end*."""
    body = _NUMBER.pack(end)
    return _FRAME.pack(_SEAL_MARK, len(body), zlib.crc32(body, len(body) ^ _SEED)) + body


def parse(data: bytes, limit: int, offset: int = 0) -> Parsed:
    """Read frames of *data* from *offset* on, at most *limit* records."""
    records: list[bytes] = []
    size, unpack, crc32 = len(data), _FRAME.unpack_from, zlib.crc32
    while len(records) < limit:
        if size - offset < FRAME_BYTES:
            head = data[offset : offset + 4]
            begun = _RECORD_MARK.startswith(head) or _SEAL_MARK.startswith(head)
            return Parsed(records, offset, "short" if begun else "bad")
        mark, length, checksum = unpack(data, offset)
        if mark != _RECORD_MARK and mark != _SEAL_MARK:
            return Parsed(records, offset, "bad")
        start = offset + FRAME_BYTES
        if start + length > size:
            return Parsed(records, offset, "short", FRAME_BYTES + length)
        payload = data[start : start + length]
        if crc32(payload, length ^ _SEED) != checksum:
            return Parsed(records, offset, "bad")
        if mark == _SEAL_MARK:
            return _sealed(records, start, payload)
        records.append(payload)
        offset = start + length
    return Parsed(records, offset, "full")


def _sealed(records: list[bytes], start: int, payload: bytes) -> Parsed:
    if len(payload) != _NUMBER.size:
        return Parsed(records, start - FRAME_BYTES, "bad")
    return Parsed(records, start + _NUMBER.size, "sealed", 0, _NUMBER.unpack(payload)[0])


def holds_frame(data: bytes) -> bool:
    """Tell whether a whole frame begins anywhere in *data* after its first byte; also True when that is not to be told.

    Bytes that are made to look like the beginnings of many long frames would cost the square of their number.
    """
    size, left = len(data), _SEARCH_PASSES * len(data)
    at = data.find(_RECORD_MARK[:3], 1)
    while at >= 0 and left > 0:
        found = parse(data, 1, at)
        if found.records or found.ending == "sealed":
            return True
        if size - at >= FRAME_BYTES:
            length: int = _FRAME.unpack_from(data, at)[1]
            left -= length if at + FRAME_BYTES + length <= size else 0
        at = data.find(_RECORD_MARK[:3], at + 1)
    return left <= 0 < size


def end_of(data: bytes, first: int) -> int:
    """Give the number after the last record of a segment that nobody writes any more; 0 when it is damaged inside."""
    seal = parse(data[-SEAL_BYTES:], 1)
    if seal.ending == "sealed":
        return seal.end
    if unpack_header(data[:HEADER_BYTES], first) is None:
        return 0
    number, offset = first, HEADER_BYTES
    while True:
        found = parse(data, 10_000, offset)
        number, offset = number + len(found.records), found.offset
        if found.ending != "full":
            return 0 if holds_frame(data[offset:]) else number


def list_segments(folder: Path) -> list[int]:
    """List the numbers of the segments in a writer's folder, oldest first; none when there is no folder."""
    try:
        names = [entry.name for entry in os.scandir(folder)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(int(name[:20]) for name in names if name.endswith(SUFFIX) and name[:-4].isdigit() and len(name) == 24)


def segment_file(folder: Path, number: int) -> Path:
    """Give the file of the segment that begins with record *number*."""
    return folder / f"{number:020d}{SUFFIX}"
