"""Weights & Biases' runs as they lie on a disk: folders ``run-...`` and ``offline-run-...`` with a ``.wandb`` file."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from mainspring.core.errors import Corrupt, NotFound
from mainspring.importers import wire
from mainspring.importers.dvclive import flat
from mainspring.importers.model import ForeignFile, ForeignRun, Measured, state_of
from mainspring.tracking.model import RunEnd

_MAGIC = b":W&B"
_FILE_HEADER_BYTES = 7
# The records lie in blocks as those of LevelDB's log: checksum, length, and whether one is whole or which part of it.
_BLOCK_BYTES = 32_768
_HEADER = struct.Struct("<IHB")
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
# Of a record: what it may be.
_HISTORY, _SUMMARY, _CONFIG, _STATS, _RUN, _EXIT = 2, 3, 5, 7, 17, 18
_OF_RUN = {"id": 1, "project": 3, "config": 4, "group": 6, "job_type": 7, "name": 8, "notes": 9, "sweep": 12}
_TAGS, _START, _GIT = 10, 17, 21


class WandbRuns:
    """The runs below a folder, ``wandb/`` or one above it; finished or not, synced or not."""

    def __init__(self, folder: Path, experiment: str | None = None) -> None:
        """Read below *folder*; raises NotFound when there is none."""
        if not folder.is_dir():
            raise NotFound(f"there is no folder {folder}")
        self.name = f"wandb {folder.absolute()}"
        self._folder, self._experiment = folder.absolute(), experiment

    def runs(self) -> Iterator[ForeignRun]:
        """Give the runs in the order of their folders; raises NotFound when there is none."""
        files = sorted(file for file in self._folder.rglob("*.wandb") if not file.parent.is_symlink())
        if not files:
            raise NotFound(f"there are no runs below {self._folder}: their folders hold files that end in .wandb")
        for file in files:
            yield _Run(file, self._experiment).told()


class _Run:
    """What one file says of its run; its histories are read again when they are asked for."""

    def __init__(self, file: Path, experiment: str | None) -> None:
        self._file, self._experiment = file, experiment
        self._texts: dict[str, str] = {}
        self._labels: list[str] = []
        self._config: dict[str, Any] = {}
        self._summary: dict[str, Any] = {}
        self._git: dict[str, str] = {}
        self._started: float | None = None
        self._exit: int | None = None
        self._runtime_s = 0
        for kind, body in records(file):
            self._take(kind, body)

    def _take(self, kind: int, body: bytes) -> None:
        if kind == _RUN:
            self._take_run(body)
        elif kind == _CONFIG:
            self._config |= _items(body, 1)
        elif kind == _SUMMARY:
            self._summary |= _items(body, 1)
        elif kind == _EXIT:
            self._exit, self._runtime_s = wire.whole(body, 1), wire.whole(body, 2)

    def _take_run(self, body: bytes) -> None:
        self._texts |= {name: told for name, number in _OF_RUN.items() if (told := wire.text(body, number))}
        tagged = [value for number, value in wire.fields(body) if number == _TAGS]
        self._labels = [value.decode() for value in tagged if isinstance(value, bytes)]
        self._config |= _items(wire.inner(body, _OF_RUN["config"]), 1)
        start = wire.inner(body, _START)
        if start:
            self._started = wire.whole(start, 1) + wire.whole(start, 2) / 1e9
        git = wire.inner(body, _GIT)
        found = {"mlflow.source.git.repoURL": wire.text(git, 1), "mlflow.source.git.commit": wire.text(git, 2)}
        self._git = {key: value for key, value in found.items() if value}

    def told(self) -> ForeignRun:
        """Give the run."""
        texts = self._texts
        started = self._started if self._started is not None else self._file.stat().st_mtime
        ended = max([started + self._runtime_s, *(point.at_us / 1e6 for point in self._points())])
        status: RunEnd = "failed" if self._exit else "finished" if self._exit is not None else "killed"
        tags = {f"wandb.{key}": texts[key] for key in ("group", "job_type", "sweep") if key in texts}
        tags |= {f"wandb.tag.{label}": "true" for label in self._labels}
        if "notes" in texts:
            tags["mlflow.note.content"] = texts["notes"]
        tags |= {f"wandb.summary.{key}": value for key, value in flat(self._summary) if isinstance(value, str)}
        config = {key: value for key, value in self._config.items() if key != "_wandb"}
        return ForeignRun(
            state=state_of([self._file]),
            id=f"wandb-{texts.get('id') or self._file.stem.removeprefix('run-')}",
            experiment=self._experiment or texts.get("project") or "wandb",
            name=texts.get("name"),
            started=datetime.fromtimestamp(started, UTC),
            ended=datetime.fromtimestamp(ended, UTC),
            status=status,
            params={key: _shown(value) for key, value in flat(config)},
            tags=tags | self._git | {"mainspring.source.wandb": str(self._file.parent)},
            points=self._points,
            files=self._files,
        )

    def _points(self) -> Iterator[Measured]:
        for kind, body in records(self._file):
            if kind == _HISTORY:
                yield from _history(body)
            elif kind == _STATS:
                yield from _stats(body)
        logged = {key for kind, body in records(self._file) if kind == _HISTORY for key in _items(body, 1)}
        at_us = round((self._started or self._file.stat().st_mtime) * 1e6)
        for key, value in flat({key: value for key, value in self._summary.items() if key not in logged}):
            if _is_number(value) and not key.startswith("_"):
                yield Measured(key, float(value), 0, at_us)

    def _files(self) -> Iterator[ForeignFile]:
        folder = self._file.parent / "files"
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                yield ForeignFile(file.relative_to(folder).as_posix(), file.resolve)


def records(file: Path) -> Iterator[tuple[int, bytes]]:
    """Give what each record of a file is and its body; what a killed process left half-written at its end is left out.

    Raises Corrupt for a file of another kind.
    """
    with file.open("rb") as stream:
        if stream.read(_FILE_HEADER_BYTES)[: len(_MAGIC)] != _MAGIC:
            raise Corrupt(f"{file} is no file of Weights & Biases: it does not begin with {_MAGIC.decode()}")
        parts: list[bytes] = []
        while True:
            left = _BLOCK_BYTES - stream.tell() % _BLOCK_BYTES
            if left < _HEADER.size:
                stream.seek(left, 1)
            header = stream.read(_HEADER.size)
            if len(header) < _HEADER.size:
                return
            _, size, kind = _HEADER.unpack(header)
            data = stream.read(size)
            if len(data) < size or kind not in (_WHOLE, _FIRST, _MIDDLE, _LAST):
                return
            parts = [data] if kind in (_WHOLE, _FIRST) else [*parts, data]
            if kind in (_WHOLE, _LAST):
                yield from _known(b"".join(parts))


def _known(record: bytes) -> Iterator[tuple[int, bytes]]:
    for number, value in wire.fields(record):
        if number in (_HISTORY, _SUMMARY, _CONFIG, _STATS, _RUN, _EXIT) and isinstance(value, bytes):
            yield number, value


def _items(body: bytes, number: int) -> dict[str, Any]:
    """Read pairs of a key, or the keys on the way to it, and a value in JSON."""
    found: dict[str, Any] = {}
    for name, item in wire.fields(body):
        if name != number or not isinstance(item, bytes):
            continue
        way = [part.decode() for field, part in wire.fields(item) if field == 2 and isinstance(part, bytes)]
        key, told = wire.text(item, 1) or ".".join(way), wire.inner(item, 16)
        if key and told:
            found[key] = _value(told)
    return found


def _value(told: bytes) -> Any:
    try:
        return msgspec.json.decode(told)
    except msgspec.DecodeError:
        # Python writes what is no finite number without quotes.
        return {b"NaN": float("nan"), b"Infinity": float("inf"), b"-Infinity": float("-inf")}.get(told)


def _history(body: bytes) -> Iterator[Measured]:
    items = _items(body, 1)
    step = items.pop("_step", None)
    step = wire.whole(wire.inner(body, 2), 1) if step is None else int(step)
    at_us = round(float(items.pop("_timestamp", 0.0)) * 1e6)
    for key, value in flat(items):
        if _is_number(value) and not key.startswith("_"):
            yield Measured(key, float(value), step, at_us)


def _stats(body: bytes) -> Iterator[Measured]:
    stamp = wire.inner(body, 2)
    at_us = wire.whole(stamp, 1) * 1_000_000 + wire.whole(stamp, 2) // 1000
    for number, item in wire.fields(body):
        if number == 3 and isinstance(item, bytes):
            value = _value(wire.inner(item, 16))
            if _is_number(value):
                yield Measured(f"system/{wire.text(item, 1)}", float(value), 0, at_us)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping) and set(value) == {"value"}:
        value = value["value"]
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
