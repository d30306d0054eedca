"""Rollouts: the policy, what the arms have shown, the looks at it, and the rollout itself."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.core.refs import ref
from mainspring.rollouts.sequential import Bounds, Clusters, Comparison, Sample

MeasureName = Literal["errors", "latency", "quality"]
Verdict = Literal["harm", "suspect", "fine", "open", "not measured"]
Decision = Literal["continue", "grow", "promote", "rollback"]
Pending = Literal["grow", "promote", "rollback", "abort"]
Status = Literal["starting", "running", "promoted", "rolled_back", "aborted", "superseded", "failed"]

MEASURES: tuple[MeasureName, ...] = ("errors", "latency", "quality")


class RolloutPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a canary takes over, and what stops it.

    The canary goes through the shares in ``steps`` and is promoted after the last. ``alpha`` is the chance of rolling
    back a canary that does no harm, over the whole rollout and all measures; ``sample_ratio_alpha`` comes on top. A
    canary that has so few units that their failures prove nothing does not grow, but is rolled back as well.
    """

    steps: tuple[float, ...] = (0.05, 0.25, 0.5)
    step_requests: int = 200
    """Requests that the canary answers at each step before it grows."""
    min_requests: int = 1_000
    """Requests that the canary has answered in all before it is promoted."""
    min_labels: int = 0
    """Labelled rows of the canary before it is promoted; from then on quality must be shown to be no worse. With 0,
    quality that is shown to be worse stops the rollout, but nothing waits for labels."""
    alpha: float = 0.05
    error_margin: float = 0.01
    """Difference of the error rates that is tolerated."""
    latency_quantile: float = 0.9
    """A request is slow when it takes longer than this quantile of the stable arm, plus tolerance or floor."""
    latency_tolerance: float = 0.5
    """Share of that quantile that is tolerated on top of it."""
    latency_floor_ms: float = 5.0
    """Milliseconds that are tolerated on top of it in any case."""
    latency_margin: float = 0.1
    """Difference of the shares of slow requests that is tolerated."""
    quality_margin: float = 0.1
    """Difference of the mean losses that is tolerated, as a share of the stable arm's mean loss."""
    sample_ratio_alpha: float = 0.001
    sample_ratio_tolerance: float = 0.1
    """How far from the share that was meant, relatively, the share of the units may be."""
    patience_requests: int = 100_000
    """Requests after which a canary that could not be shown to be no worse is dropped."""

    def checked(self) -> RolloutPolicy:
        """Give the policy back; raises InvalidRequest when it makes no sense."""
        growing = list(self.steps) == sorted(set(self.steps))
        if not self.steps or not growing or not all(0 < step < 1 for step in self.steps):
            raise InvalidRequest(f"steps are growing shares between 0 and 1, such as 0.05, 0.25, 0.5; not {self.steps}")
        shares = {"alpha": self.alpha, "sample_ratio_alpha": self.sample_ratio_alpha}
        shares |= {"latency_quantile": self.latency_quantile, "sample_ratio_tolerance": self.sample_ratio_tolerance}
        positive = {"step_requests": self.step_requests, "patience_requests": self.patience_requests}
        positive |= {name: getattr(self, name) for name in ("error_margin", "latency_margin", "quality_margin")}
        for name, value in shares.items():
            if not 0 < value < 1:
                raise InvalidRequest(f"{name} is between 0 and 1, not {value}")
        for name, value in positive.items():
            if not value > 0:
                raise InvalidRequest(f"{name} is more than 0, not {value}")
        if self.patience_requests < self.min_requests:
            raise InvalidRequest("patience_requests is less than min_requests: no canary could be promoted")
        return self


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a look wants to know of two releases.

    Everything is counted since ``since``, and ``assigned`` since ``step_since``. Requests are slow when they took
    longer than ``slow_us`` microseconds (None: none is); ``latency_us`` is the quantile ``quantile``.
    """

    stable: str
    canary: str
    since: datetime
    step_since: datetime
    slow_us: int | None
    quantile: float


class ArmReading(msgspec.Struct, frozen=True, kw_only=True):
    """What one arm has done since the rollout began.

    ``assigned`` counts, since the step began, what was dealt to the arms one by one: units, and requests without a
    unit. ``slow`` counts the requests that took longer than was asked about. ``latency_us`` is the quantile that was
    asked for, of all requests. ``losses`` are of the labelled rows, smaller is better. ``clusters`` holds, by measure,
    the units behind these counts; where a measure is not there, its rows are taken to be independent.
    """

    requests: int
    errors: int
    assigned: int
    slow: int = 0
    latency_us: float | None = None
    losses: Sample = Sample()
    clusters: dict[MeasureName, Clusters] = {}


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What both arms have done, read at the same moment."""

    stable: ArmReading
    canary: ArmReading


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """The evidence on one measure at a look: means of the arms, and what holds of the difference canary - stable.

    ``bounds`` and ``bounds.p_value`` hold at all looks together, at the level ``alpha``, with rows of a unit being as
    alike as ``design_effect`` says (1: independent). ``verdict``: ``harm`` is proven, ``suspect`` means that the rows
    prove it and their units are too few to do so, ``fine`` no worse than by ``margin``, ``open`` is neither yet.
    """

    name: MeasureName
    canary: float | None
    stable: float | None
    canary_rows: int
    stable_rows: int
    bounds: Bounds
    alpha: float
    margin: float | None
    verdict: Verdict
    design_effect: float = 1.0


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """One look at a rollout: what was read, what it shows, and what was decided."""

    number: int
    at: datetime
    share: float
    reading: Reading
    measures: list[Measure]
    sample_ratio_p_value: float
    decision: Decision
    reason: str
    next_share: float | None = None


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What a rollout carries from look to look."""

    comparisons: dict[str, Comparison] = {}
    slow_us: int | None = None
    step: int = 0
    step_began_at_requests: int = 0
    step_began: datetime | None = None
    looks: int = 0


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate on its way to all of the traffic.

    ``pending`` is what the last look, or whoever aborts, decided and is not known to be done yet.
    """

    id: str
    endpoint: str
    candidate: str
    policy: RolloutPolicy
    status: Status
    progress: Progress
    started: datetime
    ended: datetime | None = None
    release: str | None = None
    stable: str | None = None
    pending: Pending | None = None
    reason: str = ""

    @property
    def ref(self) -> str:
        """Give ``rollout:<id>``."""
        return ref("rollout", self.id)

    @property
    def active(self) -> bool:
        """Tell whether the rollout goes on."""
        return self.status in ("starting", "running")

    @property
    def share(self) -> float:
        """Give the share of the present step."""
        return self.policy.steps[self.progress.step]
