"""What tracking keeps: experiments, runs, and what each run read, set, measured and left behind."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from mainspring.core.refs import ref

RunStatus = Literal["scheduled", "running", "finished", "failed", "killed"]
RunEnd = Literal["finished", "failed", "killed"]
RunPart = Literal["params", "metrics", "tags", "inputs"]
NotFinite = Literal["nan", "inf", "-inf"]
Lifecycle = Literal["active", "deleted", "all"]
"""Which records are meant: those in use, those that were deleted and can be restored, or both."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

GONE = _EPOCH
"""When a record was deleted that is being removed for good: it is out of sight, and nobody restores it."""

MAX_METRICS = 1_000
MAX_PARAMS = 100
MAX_TAGS = 100
MAX_KEY_CHARS = 250
MAX_PARAM_CHARS = 6_000
MAX_TAG_CHARS = 8_000
MAX_HISTORY = 25_000
MAX_PAGE = 1_000

DEFAULT_EXPERIMENT, DEFAULT_ID = "Default", "0"
"""The experiment that is there from the start for runs that name none; its id is always "0"."""

KEPT_HERE = "mlflow-artifacts:/"
"""Where clients that upload by themselves are sent for artifacts that are kept here."""


class Experiment(msgspec.Struct, frozen=True):
    """A named collection of runs; ``location`` is the URI of its artifacts where they are not kept here."""

    id: str
    name: str
    created: datetime
    tags: dict[str, str] = {}
    updated: datetime | None = None
    deleted: datetime | None = None
    location: str | None = None

    @property
    def ref(self) -> str:
        """Give the ref that events and lineage use."""
        return ref("experiment", self.name)

    @property
    def artifact_uri(self) -> str:
        """Give where a client that uploads by itself finds the artifacts."""
        return self.location or f"{KEPT_HERE}{self.id}"


class Run(msgspec.Struct, frozen=True):
    """One execution of code whose results are worth keeping; ``commit`` is the Git commit of that code."""

    id: str
    name: str
    experiment: str
    status: RunStatus
    started: datetime
    ended: datetime | None = None
    parent: str | None = None
    commit: str | None = None
    branch: str | None = None
    dirty: bool = False
    user: str | None = None
    deleted: datetime | None = None
    experiment_id: str = ""
    location: str | None = None

    @property
    def ref(self) -> str:
        """Give the ref that events and lineage use."""
        return run_ref(self.id)

    @property
    def artifact_uri(self) -> str:
        """Give where a client that uploads by itself finds the artifacts."""
        return artifact_uri(self.id, self.experiment_id, self.location)


def artifact_uri(run: str, experiment_id: str, location: str | None) -> str:
    """Give where a client that uploads by itself finds the artifacts of a run."""
    return f"{location or KEPT_HERE + experiment_id}/{run}/artifacts"


def run_ref(run: str) -> str:
    """Give the ref of a run by its id."""
    return ref("run", run)


class Metric(msgspec.Struct, frozen=True):
    """One measured value; ``at_us`` is when it was measured, in microseconds since 1970 UTC (None: on arrival).

    JSON has no NaN and no infinities, so ``value`` holds those as text, on every side; ``number`` is always a float.
    """

    key: str
    value: float | NotFinite
    step: int = 0
    at_us: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.value, float) and not math.isfinite(self.value):
            msgspec.structs.force_setattr(self, "value", portable(self.value))

    @property
    def number(self) -> float:
        """Give the value as a float."""
        return float(self.value)


def microseconds(moment: datetime) -> int:
    """Give a moment in microseconds since 1970 UTC."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def portable(value: float) -> float | NotFinite:
    """Give *value* as JSON can carry it: NaN and the infinities as text."""
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "nan"
    return "inf" if value > 0 else "-inf"


class DatasetInput(msgspec.Struct, frozen=True):
    """A dataset version that a run read, and what for (``training``, ``evaluation``, ...)."""

    dataset: str
    context: str = "training"


class ForeignDataset(msgspec.Struct, frozen=True):
    """A dataset that is kept elsewhere, as the run that read it told; ``schema`` and ``profile`` are its own JSON.

    ``context`` is what it was read for, and ``tags`` belong to the reading. ``ref`` is what lineage calls it, if
    it is kept here after all.
    """

    name: str
    digest: str
    source_type: str
    source: str
    schema: str | None = None
    profile: str | None = None
    context: str | None = None
    tags: dict[str, str] = {}
    ref: str | None = None


class ModelLink(msgspec.Struct, frozen=True):
    """A model that a run read or made, by its id; ``step`` is where in the run it was made."""

    model: str
    step: int = 0


class Artifact(msgspec.Struct, frozen=True):
    """A file that a run left behind: a name, and the object that holds its bytes. ``path`` never names a real file."""

    path: str
    digest: str
    size: int


class RunDetails(msgspec.Struct, frozen=True):
    """A run with everything small that belongs to it; ``metrics`` holds the latest point of each key."""

    run: Run
    params: dict[str, str] = {}
    metrics: dict[str, Metric] = {}
    tags: dict[str, str] = {}
    inputs: list[DatasetInput] = []
    foreign_inputs: list[ForeignDataset] = []
    models_read: list[ModelLink] = []
    models_made: list[ModelLink] = []


class RunPage(msgspec.Struct, frozen=True):
    """Runs that were found; ``next_page`` is handed back to get those that follow, None at the end."""

    runs: list[RunDetails]
    next_page: str | None = None


class History(msgspec.Struct, frozen=True):
    """Points of one metric in the order of (step, at, value), as columns; ``at`` in microseconds since 1970 UTC."""

    key: str
    steps: list[int]
    at_us: list[int]
    values: list[float | NotFinite]
    next_page: str | None = None


class Package(msgspec.Struct, frozen=True, array_like=True):
    """An installed Python distribution."""

    name: str
    version: str


class Gpu(msgspec.Struct, frozen=True):
    """A graphics processor as its driver names it."""

    name: str
    memory_bytes: int
    driver: str


class Environment(msgspec.Struct, frozen=True):
    """Where a run happened. ``cpus`` and ``memory_bytes`` are what the process may use, not what the machine has."""

    python: str
    os: str
    architecture: str
    cpu: str
    cpus: int
    memory_bytes: int
    gpus: list[Gpu] = []
    packages: list[Package] = []


class UntrackedFile(msgspec.Struct, frozen=True):
    """A file of the working tree that Git does not know yet."""

    path: str
    data: bytes


class SourceCode(msgspec.Struct, frozen=True):
    """The code of a run: the commit, and how the working tree differed from it.

    ``left_out`` says which changed files were not captured, and why: ``"notes/big.csv: larger than 256KiB"``.
    """

    commit: str | None
    branch: str | None
    dirty: bool
    diff: bytes = b""
    untracked: list[UntrackedFile] = []
    left_out: list[str] = []

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Give what differs from the commit as artifacts, each a path below ``code/`` and its bytes."""
        if self.diff:
            yield "code/diff.patch", self.diff
        yield from ((f"code/untracked/{file.path}", file.data) for file in self.untracked)
        if self.left_out:
            yield "code/left_out.txt", "\n".join(self.left_out).encode()
