"""The values of triggers: policies, evidence, and firings with what became of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.core.refs import ref
from mainspring.monitoring.model import AlarmKind
from mainspring.pipelines.model import Pipeline

TriggerKind = Literal["schedule", "drift", "performance", "volume", "manual"]
FiringStatus = Literal["pending", "due", "started", "rejected", "failed"]

HEALED: tuple[AlarmKind, ...] = ("distribution", "nulls", "new_levels", "prediction")
"""Kinds of drift that a retraining can heal; a column that stopped coming or changed its type is for people."""


class DriftRule(msgspec.Struct, frozen=True):
    """Fire when ``least`` of the last ``of`` windows raised alarms of these ``kinds``, or one effect was strong.

    An effect is strong from ``strong`` times the size that matters.
    """

    least: int = 2
    of: int = 3
    strong: float = 3.0
    kinds: tuple[AlarmKind, ...] = HEALED

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.of:
            raise InvalidRequest(f"a drift rule of {self.least} in {self.of} windows makes no sense; give 1 <= k <= m")


class PerformanceRule(msgspec.Struct, frozen=True):
    """Fire at the first alarm of the quality on labels: its test looks at a window and at the last four pooled."""


class VolumeRule(msgspec.Struct, frozen=True):
    """Fire after so many ``predictions`` were answered, or ``labels`` came, since the last firing."""

    predictions: int | None = None
    labels: int | None = None

    def __post_init__(self) -> None:
        if self.predictions is None and self.labels is None:
            raise InvalidRequest("a volume rule needs a number of predictions or of labels")


class ScheduleRule(msgspec.Struct, frozen=True):
    """Fire ``every_s`` seconds after the last firing, the first time after the policy was set."""

    every_s: float


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """When the pipeline of an endpoint is started, and with which parameters (``firing`` is added to them).

    After a firing there is none but a manual one for ``cooldown_s`` seconds and ``cooldown_windows`` checked windows;
    both double with each further firing on the same release, up to eightfold, because a retraining that did not help
    will not help the next minute either, unless the quality has surely fallen further since. With ``require_approval``
    a firing waits until somebody approves it.
    """

    pipeline: Pipeline
    parameters: dict[str, Any] = {}
    drift: DriftRule | None = DriftRule()
    performance: PerformanceRule | None = PerformanceRule()
    volume: VolumeRule | None = None
    schedule: ScheduleRule | None = None
    cooldown_s: float = 0.0
    cooldown_windows: int = 2
    require_approval: bool = False


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Why a trigger fired: one line for each reason, the alarms, and the windows that were looked at (all as refs)."""

    reasons: list[str]
    alarms: list[str] = []
    reports: list[str] = []
    predictions: int | None = None
    labels: int | None = None


class Firing(msgspec.Struct, frozen=True, kw_only=True):
    """A decision to start the pipeline of an endpoint.

    ``pending`` waits for approval, ``due`` for its start; ``started`` has a ``job``. ``mark`` and ``report`` say how
    far the log and the reports went when it fired: the next one counts from there.
    """

    id: str
    endpoint: str
    trigger: TriggerKind
    status: FiringStatus
    evidence: Evidence
    at: datetime
    release: str | None = None
    mark: int = 0
    report: str = ""
    job: str | None = None
    decided_by: str | None = None
    note: str | None = None

    @property
    def ref(self) -> str:
        """Give the ref that events and lineage use."""
        return ref("firing", self.id)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What an evaluation came to: the firing, or why there was none; ``error`` says why it could not be made."""

    endpoint: str
    firing: Firing | None = None
    reason: str = ""
    error: str | None = None
