"""What a gate asks and what it found: the policy, the checks with their numbers, the report."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

Interval = Literal["influence", "bootstrap", "delong"]


class GatePolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a candidate has to show before it is promoted; None switches a check off.

    ``margin`` is in the unit of the metric: the lower bound of the improvement over the champion must lie above it. A
    negative margin asks only for *not worse by more than that*. ``level`` is that of every interval, two-sided.
    Fairness is measured for the ``protected`` columns: ``min_selection_ratio`` bounds the ratio of the shares of
    positive answers (0.8 is the four-fifths rule, 29 CFR 1607.4 D), ``max_error_gap`` the gap between two groups' error
    rates (a number's error as a share of the overall one). A bound is broken when the whole interval lies beyond it.
    Groups of fewer than ``min_group_rows`` rows are not judged. For each value of the ``subgroups`` columns the
    candidate must not be shown to be worse than the champion by more than ``subgroup_margin``. ``interval`` says how
    the improvement's interval is made: ``delong`` is for ``roc_auc`` of two classes.
    """

    margin: float = 0.0
    level: float = 0.95
    metric: str | None = None
    min_rows: int = 50
    beat_baseline: bool = True
    max_p99_ms: float | None = 50.0
    latency_requests: int = 300
    max_size_bytes: int | None = 512 * 2**20
    max_memory_bytes: int | None = 2**30
    protected: list[str] = []
    min_selection_ratio: float | None = 0.8
    max_error_gap: float | None = 0.1
    min_group_rows: int = 30
    subgroups: list[str] = []
    subgroup_margin: float = 0.0
    interval: Interval = "influence"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was asked: what was found, the bound it was held against, and the numbers in words."""

    name: str
    passed: bool
    value: float | None
    bound: float | None
    detail: str
    low: float | None = None
    high: float | None = None


class GateReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the gates found for *model* against *champion* (None when there was none) on the rows of *dataset*.

    ``under`` is the ref of the policy where that is one that is kept by name.
    """

    ref: str
    model: str
    champion: str | None
    dataset: str
    rows: int
    metric: str
    policy: GatePolicy
    checks: list[Check]
    at: datetime
    under: str | None = None

    @property
    def passed(self) -> bool:
        """Tell whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def failed(self) -> list[Check]:
        """Give the checks that did not pass."""
        return [check for check in self.checks if not check.passed]

    def check(self, name: str) -> Check | None:
        """Find a check by name."""
        return next((check for check in self.checks if check.name == name), None)


class Holdout(msgspec.Struct, frozen=True, kw_only=True):
    """Labelled rows that neither model learned from: the model's columns, the truth, and where they come from.

    ``groups`` holds the values of protected columns, which the model itself need not take.
    """

    columns: dict[str, Any]
    truth: Sequence[Any]
    dataset: str
    groups: dict[str, Sequence[Any]] = {}


def objections(report: GateReport | None, champion: str | None) -> dict[str, str]:
    """Say by name what stands against a promotion past *champion*; nothing when the report allows it."""
    if report is None:
        return {
            "gate_report": "its gates were never evaluated: evaluate them on a holdout, or give a reason with --force"
        }
    if report.champion != champion:
        met, now = report.champion or "no champion", champion or "none"
        said = f"{report.ref} compared it with {met}, but the champion is {now}; evaluate the gates again"
        return {"champion_changed": said}
    return {check.name: f"{check.name}: {check.detail}" for check in report.failed}
