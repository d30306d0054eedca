"""The values of monitoring: what is watched, what is normal, what each window showed and what raised an alarm."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.core.refs import ref
from mainspring.monitoring.dispersion import Dispersion
from mainspring.registry.signature import Task

Kind = Literal["numeric", "categorical"]
AlarmKind = Literal[
    "distribution", "nulls", "new_levels", "missing_column", "type_changed", "prediction", "refused", "performance"
]
Cut = Literal["inputs", "labels"]

MONTH = timedelta(days=30)


class Budget(msgspec.Struct, frozen=True):
    """How often nothing may be taken for something.

    ``month`` is the chance of any false alarm in 30 days, ``reference`` the chance of any during the whole life of one
    reference (None: only the month counts). Both are shared out over windows, columns and tests; see ``budget.py``.
    """

    month: float = 0.02
    reference: float | None = 0.03

    def __post_init__(self) -> None:
        for chance in (self.month, self.reference):
            if chance is not None and not 0 < chance < 1:
                raise InvalidRequest(f"a false-alarm budget is a chance between 0 and 1, not {chance}; try 0.02")


class Effects(msgspec.Struct, frozen=True):
    """How large a change must be to matter; a smaller one is no alarm, however sure.

    ``psi`` is the population stability index (0.1 is commonly called moderate, 0.25 major); ``nulls``, ``new_levels``
    and ``refused`` are differences of shares of the rows. ``skill`` is the part of the model's advantage over the best
    constant answer whose loss matters.
    """

    psi: float = 0.1
    nulls: float = 0.02
    new_levels: float = 0.01
    refused: float = 0.02
    skill: float = 0.1


class Windows(msgspec.Struct, frozen=True):
    """How traffic is cut: every ``rows`` rows, or every ``seconds`` of event time (or of arrival, where there is none).

    A window of time with fewer than ``fewest`` rows is not tested for distributions. ``labels`` is the number of
    labelled predictions of a performance window (None: as many as ``rows``, or 200).
    """

    rows: int | None = 500
    seconds: float | None = None
    fewest: int = 50
    labels: int | None = None

    def __post_init__(self) -> None:
        if (self.rows is None) == (self.seconds is None):
            raise InvalidRequest("give a window either rows or seconds, not both and not none")
        if (self.rows or 1) < 1 or (self.seconds or 1) <= 0 or (self.labels or 1) < 1:
            raise InvalidRequest("a window has at least one row and takes some time")

    @property
    def labelled(self) -> int:
        """Give the number of labelled predictions of a performance window."""
        return self.labels or self.rows or 200


class Settings(msgspec.Struct, frozen=True):
    """How one endpoint is monitored; ``ignore`` names columns that are not."""

    windows: Windows = Windows()
    budget: Budget = Budget()
    effects: Effects = Effects()
    ignore: list[str] = []


class Profile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is normal for one column, small enough to be kept.

    ``edges`` are the upper bounds of all numeric bins but the last; ``levels`` are the categories that have a bin of
    their own (a last bin takes the rest). ``counts`` are the rows in each bin, nulls apart. ``known`` are all levels.
    ``unseen`` and ``unseen_rows`` say how many later rows of the reference had a level that earlier rows had not.
    ``excluded`` says why the column cannot drift in a way that means something; it is then watched for type only.
    """

    name: str
    kind: Kind
    rows: int
    nulls: int
    counts: list[int]
    edges: list[float] = []
    levels: list[str] = []
    known: list[str] = []
    unseen: int = 0
    unseen_rows: int = 0
    mean: float | None = None
    deviation: float | None = None
    shares: list[Dispersion] = []
    null_shares: list[Dispersion] = []
    excluded: str | None = None

    @property
    def null_share(self) -> float:
        """Give the share of the rows that have no value."""
        return self.nulls / self.rows if self.rows else 0.0


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """How good the model was on rows that it was not fitted to: the metric, its standard error and what matters.

    ``trivial`` is the metric of the best constant answer; ``margin`` is the loss that matters, in units of the metric.
    ``weighty`` counts the rows that it rests on: those of the rarest class, where each class counts as a whole.
    """

    metric: str
    higher_is_better: bool
    value: float
    error: float
    trivial: float
    margin: float
    rows: int
    weighty: int | None = None
    dispersion: list[Dispersion] = []


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """What is normal for a release: its columns, its predictions and its quality, and where that was learnt.

    ``types`` are the types of the columns in the model's signature, by which logged features are read.
    """

    id: str
    endpoint: str
    release: str
    model: str | None
    dataset: str | None
    at: datetime
    rows: int
    settings: Settings
    types: dict[str, str] = {}
    task: Task | None = None
    classes: list[str | int] | None = None
    columns: list[Profile] = []
    predictions: Profile | None = None
    quality: Quality | None = None
    notes: list[str] = []

    @property
    def ref(self) -> str:
        """Give the ref that events and lineage use."""
        return ref("reference", self.id)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One test of one column in one window.

    ``statistic`` is named by ``test``; ``p`` is the chance of such a statistic when nothing has changed (0 for what is
    certain, such as a missing column), ``share`` the part of the budget that this test may spend, ``effect`` the size
    of the change and ``threshold`` the size that matters. An alarm is raised when p <= share and effect >= threshold.
    """

    column: str
    kind: AlarmKind
    test: str
    statistic: float
    p: float
    share: float
    effect: float
    threshold: float
    note: str = ""

    @property
    def alarming(self) -> bool:
        """Tell whether it is both sure and large enough."""
        return self.p <= self.share and self.effect >= self.threshold


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """A finding that was raised, with its window: refs, bounds, rows and number since the reference was set."""

    id: str
    endpoint: str
    release: str
    reference: str
    cut: Cut
    window: int
    start: datetime
    end: datetime
    rows: int
    at: datetime
    finding: Finding

    @property
    def ref(self) -> str:
        """Give the ref that events and lineage use."""
        return ref("alarm", self.id)


class Performance(msgspec.Struct, frozen=True, kw_only=True):
    """The metric on one window of labelled predictions, with an interval of 95 %, beside the reference's.

    ``worse`` is how much worse than the reference it is (negative: better), ``error`` the standard error of the
    window's own part of that, for neighbours no more alike than those of the reference. ``weighty`` is as in Quality.
    """

    metric: str
    value: float
    low: float | None
    high: float | None
    reference: float
    worse: float
    error: float
    rows: int
    weighty: int | None = None


class WindowReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one window showed. ``alpha`` is the part of the false-alarm budget that the window was given."""

    id: str
    endpoint: str
    release: str
    reference: str
    cut: Cut
    number: int
    start: datetime
    end: datetime
    rows: int
    at: datetime
    alpha: float
    findings: list[Finding] = []
    alarms: list[Alarm] = []
    performance: Performance | None = None
    notes: list[str] = []

    @property
    def ref(self) -> str:
        """Give the ref that events and lineage use."""
        return ref("report", self.id)

    @property
    def drifted(self) -> bool:
        """Tell whether anything but the quality raised an alarm."""
        return any(alarm.finding.kind != "performance" for alarm in self.alarms)


class Cursor(msgspec.Struct, frozen=True, kw_only=True):
    """How far the log was cut into windows: ``used`` rows of the mark ``mark``, or all events before ``until``."""

    mark: int = 0
    used: int = 0
    until: datetime | None = None
    windows: int = 0


class MonitorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How an endpoint's monitoring stands. ``spent`` is the part of the reference's budget given out so far."""

    endpoint: str
    release: str
    reference: str
    since: datetime
    windows: int
    label_windows: int
    alarms: int
    spent: float
    last_window: datetime | None
    columns: int
    excluded: dict[str, str] = {}
    quality: Quality | None = None
    notes: list[str] = []
