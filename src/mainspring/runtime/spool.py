"""The spool: facts that one process appends without waiting for anybody, and another one takes in exactly once.

Each writer has a folder of its own under the spool's root; `mainspring.runtime.segments` says what is in its files.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path

import msgspec

from mainspring.core.errors import Unavailable
from mainspring.runtime import segments
from mainspring.runtime.salvage import rows_in, stretches
from mainspring.runtime.segments import Damage, Position
from mainspring.runtime.spool_writer import SpoolWriter, is_abandoned
from mainspring.storage.durable import replace_file

__all__ = ["Damage", "Position", "SpoolBatch", "SpoolReader", "SpoolWriter"]

_QUARANTINE = "quarantine"


class SpoolBatch(msgspec.Struct, frozen=True, kw_only=True):
    """Records of one writer in the order they were written; ``first`` is the number of the first of them.

    ``end`` is the position after them, to be committed together with their effect. A batch with ``damage`` has no
    records: it says what could not be read before ``end``.
    """

    writer: str
    first: int
    records: list[bytes]
    end: Position
    damage: Damage | None = None

    @property
    def last(self) -> int:
        """Give the number of the last record: the version of a table transaction whose application is the writer."""
        return self.first + len(self.records) - 1

    def after(self, number: int) -> SpoolBatch:
        """Give the batch without the records up to *number*, which had their effect already."""
        skipped = min(max(number + 1 - self.first, 0), len(self.records))
        if skipped == 0:
            return self
        return msgspec.structs.replace(self, first=self.first + skipped, records=self.records[skipped:])


class SpoolReader:
    """Reads what every writer under one root wrote, while they write. One process reads and releases."""

    def __init__(self, root: Path | str, *, max_batch_records: int = 5_000, max_batch_bytes: int = 8 * 2**20) -> None:
        self.root = Path(root)
        self._max_records = max_batch_records
        self._max_bytes = max_batch_bytes

    def writers(self) -> list[str]:
        """List the writers that have a folder, sorted."""
        try:
            return sorted(entry.name for entry in os.scandir(self.root) if entry.is_dir())
        except FileNotFoundError:
            return []

    def batches(self, positions: Iterable[Position] = ()) -> Iterator[SpoolBatch]:
        """Yield what was written after *positions* (a writer without one: from its oldest segment) up to now.

        The order is fixed: by writer, then as written. Nothing is skipped in silence: what cannot be read comes as a
        batch with ``damage``, after its bytes were copied to ``<writer>/quarantine/``, and the whole records behind it
        follow where `salvage` can tell them from bytes that only look like some. A record that is still being written
        comes with a later call. Raises Unsupported for segments of another format version, Unavailable when damaged
        bytes cannot be copied.
        """
        begin = {position.writer: position for position in positions}
        for writer in self.writers():
            yield from self._of_writer(writer, begin.get(writer))

    def release(self, position: Position) -> int:
        """Delete the segments that lie wholly before a committed position; gives the number of bytes freed."""
        folder, freed = self.root / position.writer, 0
        # The newest one always stays: its name carries the epoch on.
        for number in segments.list_segments(folder)[:-1]:
            file = segments.segment_file(folder, number)
            size = file.stat().st_size
            if number > position.segment or (number == position.segment and size > position.offset):
                break
            file.unlink()
            freed += size
        return freed

    def waiting_bytes(self, positions: Iterable[Position] = ()) -> int:
        """Give how many bytes lie after *positions*."""
        total, begin = 0, {position.writer: position for position in positions}
        for writer in self.writers():
            read = begin.get(writer)
            for number in segments.list_segments(self.root / writer):
                size = segments.segment_file(self.root / writer, number).stat().st_size
                if read is None or number > read.segment:
                    total += size - segments.HEADER_BYTES
                elif number == read.segment:
                    total += size - read.offset
        return total

    def _of_writer(self, writer: str, begin: Position | None) -> Iterator[SpoolBatch]:
        numbers = segments.list_segments(self.root / writer)
        place = begin
        for number, following in zip(numbers, [*numbers, None][1:], strict=True):
            if place is not None and number < place.segment:
                continue
            if place is None or place.segment != number:
                if place is not None:
                    yield from self._gap(place, number)
                place = Position(writer, number, 0, number)
            for batch in self._of_segment(place, following):
                place = batch.end
                yield batch

    def _of_segment(self, place: Position, following: int | None) -> Iterator[SpoolBatch]:
        folder = self.root / place.writer
        file = os.open(segments.segment_file(folder, place.segment), os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(file).st_size
            header = os.pread(file, segments.HEADER_BYTES, 0)
            if place.offset == 0 and segments.unpack_header(header, place.segment) is not None:
                place = msgspec.structs.replace(place, offset=segments.HEADER_BYTES)
            if place.offset > 0:
                for batch in self._records(file, place, size):
                    place = batch.end
                    yield batch
            if place.offset < size and (following is not None or is_abandoned(folder)):
                tail = os.pread(file, size - place.offset, place.offset)
                for damaged in self._judge(place, tail, following):
                    yield damaged
                    yield from self._records(file, damaged.end, size)
        finally:
            os.close(file)

    def _records(self, file: int, place: Position, size: int) -> Iterator[SpoolBatch]:
        needed = 0
        while place.offset < size:
            data = os.pread(file, min(max(self._max_bytes, needed), size - place.offset), place.offset)
            found = segments.parse(data, self._max_records)
            record = place.record + len(found.records)
            if found.ending == "sealed" and found.end != record:
                found = msgspec.structs.replace(found, offset=found.offset - segments.SEAL_BYTES, ending="bad")
            end = Position(place.writer, place.segment, place.offset + found.offset, record)
            if found.records:
                yield SpoolBatch(writer=place.writer, first=place.record, records=found.records, end=end)
            whole = place.offset + len(data) >= size
            place, needed = end, max(found.needed, segments.FRAME_BYTES)
            if found.ending in ("bad", "sealed") or (found.ending == "short" and whole):
                return

    def _gap(self, place: Position, number: int) -> Iterator[SpoolBatch]:
        """Yield a damage when segment *number* says that more was written before it than was read."""
        expected = self._written(place, number)
        if expected is None or expected == place.record:
            return
        damage = Damage(
            kind="corrupt",
            writer=place.writer,
            segment=place.segment,
            offset=place.offset,
            bytes=0,
            records=_distance(place.record, expected),
            quarantine="",
        )
        end = msgspec.structs.replace(place, record=expected)
        yield SpoolBatch(writer=place.writer, first=expected, records=[], end=end, damage=damage)

    def _written(self, place: Position, following: int | None) -> int | None:
        """Give the number after the last record that the writer knew of when it began segment *following*."""
        if following is None:
            return None
        file = segments.segment_file(self.root / place.writer, following)
        with file.open("rb") as opened:
            previous_end = segments.unpack_header(opened.read(segments.HEADER_BYTES), following)
        if previous_end:
            return previous_end
        same = segments.epoch_of(following) == segments.epoch_of(place.segment)
        return following if same else None

    def _judge(self, place: Position, tail: bytes, following: int | None) -> Iterator[SpoolBatch]:
        """Yield a damage for each stretch of *tail* behind which whole records go on, or its end comes."""
        seal = segments.parse(tail, 1)
        if seal.ending == "sealed" and seal.end == place.record and seal.offset == len(tail):
            return
        trailer = segments.parse(tail[-segments.SEAL_BYTES :], 1)
        expected = trailer.end if trailer.ending == "sealed" else self._written(place, following)
        rows, lost = list(rows_in(tail)), _distance(place.record, expected)
        record = place.record
        for stretch, row in zip_longest(stretches(rows, len(tail), lost, headless=place.offset == 0), rows):
            if stretch is None:
                return
            begin = msgspec.structs.replace(place, offset=place.offset + stretch.begin, record=record)
            if stretch.records is not None:
                record += stretch.records
            elif expected is not None:
                record = expected
            damage = Damage(
                kind="corrupt" if rows or lost else "torn",
                writer=place.writer,
                segment=place.segment,
                offset=begin.offset,
                bytes=stretch.end - stretch.begin,
                records=stretch.records,
                quarantine=_quarantine(self.root / place.writer, begin, tail[stretch.begin : stretch.end]),
            )
            end = msgspec.structs.replace(place, offset=place.offset + stretch.end, record=record)
            yield SpoolBatch(writer=place.writer, first=record, records=[], end=end, damage=damage)
            record += row.records if row is not None else 0


def _distance(record: int, expected: int | None) -> int | None:
    """Give how many records are missing before number *expected*; None where that cannot be told."""
    if expected is None or segments.epoch_of(expected) != segments.epoch_of(record) or expected < record:
        return None
    return expected - record


def _quarantine(folder: Path, place: Position, tail: bytes) -> str:
    target = folder / _QUARANTINE / f"{place.segment:020d}-{place.offset}.bin"
    try:
        target.parent.mkdir(exist_ok=True)
        replace_file(target, tail)
    except OSError as error:
        raise Unavailable(
            f"damaged bytes of the spool cannot be kept in {target}: {error.strerror}: until they can, nothing behind "
            "them is taken in",
            errno=error.errno,
        ) from error
    return str(target)
