"""What an importer reads of a run of elsewhere, and what it says when it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from mainspring.registry.model import Stage
from mainspring.tracking.model import RunEnd


class Measured(NamedTuple):
    """A point of a metric; *at_us* in microseconds since 1970 UTC."""

    key: str
    value: float
    step: int
    at_us: int


class ForeignFile(NamedTuple):
    """A file of a run: where it belongs below the run, and how it is had as a file of this machine."""

    path: str
    fetch: Callable[[], Path]


class ForeignRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run of elsewhere; *id* never changes there, and is its id here. It goes on there while *status* is None.

    *state* is another text whenever the run has changed there.
    """

    id: str
    state: str
    experiment: str
    name: str | None
    started: datetime
    status: RunEnd | None = "finished"
    ended: datetime | None = None
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    points: Callable[[], Iterator[Measured]]
    files: Callable[[], Iterator[ForeignFile]]


class ForeignVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a model of elsewhere; *fetch* gives the folder of its files on this machine."""

    number: int
    run: str | None = None
    description: str = ""
    tags: dict[str, str] = {}
    stage: Stage = "development"
    fetch: Callable[[], Path]


class ForeignModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model of elsewhere, with its versions from the first to the last; *aliases* point to their numbers."""

    name: str
    description: str = ""
    tags: dict[str, str] = {}
    aliases: dict[str, int] = {}
    versions: list[ForeignVersion]


class Source(Protocol):
    """Somewhere that runs come from."""

    name: str

    def runs(self) -> Iterator[ForeignRun]:
        """Give its runs, parents before their children."""


class Problem(msgspec.Struct, frozen=True):
    """What could not be brought over, and why."""

    what: str
    why: str


class Report(msgspec.Struct, frozen=True):
    """What an import has done; *unchanged* runs were here already, as they are there."""

    source: str
    runs: int = 0
    unchanged: int = 0
    points: int = 0
    files: int = 0
    models: int = 0
    versions: int = 0
    problems: list[Problem] = []


def state_of(files: Iterable[Path]) -> str:
    """Give a text that changes with the sizes of files, or when they were written."""
    return " ".join(f"{found.st_size}.{found.st_mtime_ns}" for file in files for found in [file.stat()])[-200:]
