"""TensorBoard's event files: each folder that holds some is a run."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

from mainspring.core.errors import Corrupt, NotFound
from mainspring.importers import wire
from mainspring.importers.model import ForeignFile, ForeignRun, Measured, state_of

_EVENTS = "*tfevents*"
_HEADER = struct.Struct("<QI")
_CHECK_BYTES = 4
# Of an Event: wall time, step, summary; of a summary its values; of a value its tag, number and tensor.
_WALL_TIME, _STEP, _SUMMARY, _VALUE = 1, 2, 5, 1
_TAG, _SIMPLE, _TENSOR = 1, 2, 8
# Of a tensor: its type, raw content, and lists by type.
_TYPE, _SHAPE, _CONTENT, _FLOATS, _DOUBLES = 1, 2, 4, 5, 6
_FLOAT, _DOUBLE = 1, 2


class _Event(NamedTuple):
    at_s: float
    step: int
    summary: bytes


class TensorBoard:
    """The runs below a folder; scalars become metrics, and the event files artifacts."""

    def __init__(self, folder: Path, experiment: str | None = None) -> None:
        """Read below *folder*; raises NotFound when there is none."""
        if not folder.is_dir():
            raise NotFound(f"there is no folder {folder}")
        self.name = f"tensorboard {folder.absolute()}"
        self._folder = folder.absolute()
        self._experiment = experiment or self._folder.name

    def runs(self) -> Iterator[ForeignRun]:
        """Give a run for each folder with event files; raises NotFound when there is none."""
        folders = sorted({file.parent for file in self._folder.rglob(_EVENTS)})
        if not folders:
            raise NotFound(f"there are no event files below {self._folder}: they have 'tfevents' in their names")
        for folder in folders:
            yield self._run(folder)

    def _run(self, folder: Path) -> ForeignRun:
        files = sorted(folder.glob(_EVENTS))
        times = [event.at_s for file in files for event in events(file)]
        began, ended = (min(times), max(times)) if times else (files[0].stat().st_mtime,) * 2
        place = folder.relative_to(self._folder).as_posix()
        return ForeignRun(
            state=state_of(files),
            id=f"tb-{hashlib.sha256(str(folder).encode()).hexdigest()[:28]}",
            experiment=self._experiment,
            name=self._folder.name if place == "." else place,
            started=datetime.fromtimestamp(began, UTC),
            ended=datetime.fromtimestamp(ended, UTC),
            tags={"mainspring.source.tensorboard": str(folder)},
            points=lambda: (point for file in files for event in events(file) for point in _scalars(event)),
            files=lambda: (ForeignFile(f"events/{file.name}", partial(Path, file)) for file in files),
        )


def events(file: Path) -> Iterator[_Event]:
    """Give the events of a file that is still written, perhaps: what is half there at its end is left out.

    A record is a length, its checksum, the bytes, their checksum (TFRecord,
    https://www.tensorflow.org/tutorials/load_data/tfrecord). Raises Corrupt for what is no such file.
    """
    with file.open("rb") as stream:
        while len(header := stream.read(_HEADER.size)) == _HEADER.size:
            size, _ = _HEADER.unpack(header)
            data = stream.read(size + _CHECK_BYTES) if size < 1 << 31 else b""
            if len(data) < size + _CHECK_BYTES:
                if size >= 1 << 31:
                    raise Corrupt(f"{file} holds no events: a record of {size} bytes")
                return
            event = data[:size]
            at_s = wire.only(event, _WALL_TIME)
            yield _Event(float(at_s or 0.0), wire.whole(event, _STEP), wire.inner(event, _SUMMARY))


def _scalars(event: _Event) -> Iterator[Measured]:
    for number, value in wire.fields(event.summary):
        if number == _VALUE and isinstance(value, bytes):
            found = _number(value)
            if found is not None:
                yield Measured(wire.text(value, _TAG), found, event.step, round(event.at_s * 1e6))


def _number(value: bytes) -> float | None:
    simple = wire.only(value, _SIMPLE)
    if isinstance(simple, float):
        return simple
    tensor = wire.inner(value, _TENSOR)
    kind, content = wire.whole(tensor, _TYPE), wire.inner(tensor, _CONTENT)
    if not tensor or wire.inner(tensor, _SHAPE):
        return None  # A picture, a histogram, a text: no single number.
    for wanted, letter, listed in ((_FLOAT, "<f", _FLOATS), (_DOUBLE, "<d", _DOUBLES)):
        if kind == wanted:
            packed = content or wire.inner(tensor, listed)
            if len(packed) == struct.calcsize(letter):
                return float(struct.unpack(letter, packed)[0])
            alone = wire.only(tensor, listed)
            return alone if isinstance(alone, float) else None
    return None
