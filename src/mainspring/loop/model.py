"""The document that `mainspring loop run --json` prints: every number, alarm and decision of one turn of the loop."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

TriggerKind = Literal["schedule", "drift", "performance", "volume", "manual"]
Outcome = Literal["promoted", "refused", "rolled_back", "failed", "canary"]


class MetricName(msgspec.Struct, frozen=True):
    """The metric by which the loop judged, and its direction."""

    name: str
    higher_is_better: bool


class WindowQuality(msgspec.Struct, frozen=True, kw_only=True):
    """The metric in one window, as it was answered and had the first champion stayed; None where it is not defined."""

    window: int
    rows: tuple[int, int]
    live: float | None
    frozen: float | None
    releases: list[str]


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm of the monitors.

    ``window`` counts from 0, ``rows`` are its replayed rows from and to; ``statistic`` is the value of the
    test that alarmed, ``threshold`` what it had to pass, ``budget`` the share of the false-alarm budget that this test
    could spend.
    """

    ref: str
    window: int
    rows: tuple[int, int]
    kind: str
    feature: str | None
    statistic_name: str
    statistic: float
    threshold: float
    p_value: float | None
    effect: float | None
    budget: float
    message: str


class Retraining(msgspec.Struct, frozen=True, kw_only=True):
    """A retraining: what started it, which alarms were the evidence, and what came of it."""

    job: str
    trigger: TriggerKind
    window: int
    evidence: list[str]
    dataset: str | None
    candidate: str | None
    outcome: Outcome
    seconds: float
    detail: str = ""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A decision about what serves: by a gate or a canary, with its evidence."""

    window: int
    subject: str
    decision: str
    by: Literal["gate", "rollout"]
    evidence: dict[str, Any]


class Requests(msgspec.Struct, frozen=True, kw_only=True):
    """The replayed requests: rows and requests sent, requests that failed for good, and those that were sent again."""

    sent: int
    failed: int
    retried: int = 0
    rows: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0


class LoopReport(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of the loop over a table.

    ``live`` is the metric over all replayed rows as they were answered; ``frozen`` is the metric over the same rows had
    the first champion answered them all. ``windows`` has the live and the frozen metric for each window.
    """

    name: str
    dataset: str
    target: str
    task: str
    rows: dict[str, int]
    metric: MetricName
    champion_first: str
    champion_last: str
    release_last: str
    live: float
    frozen: float
    live_interval: tuple[float, float]
    frozen_interval: tuple[float, float]
    difference_interval: tuple[float, float]
    windows: list[WindowQuality]
    alarms: list[Alarm]
    retrainings: list[Retraining]
    decisions: list[Decision]
    requests: Requests
    traced: list[str]
    stages: dict[str, float]
    notes: list[str]
    home: str
    seconds: float
