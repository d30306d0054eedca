"""How one turn is steered: how much counts as recent, what the gate asks, how a canary grows, when training starts."""

from __future__ import annotations

import msgspec

from mainspring.loop.retraining import PIPELINE, Plan
from mainspring.loop.table import Split
from mainspring.registry.gate_model import GatePolicy
from mainspring.rollouts.model import RolloutPolicy
from mainspring.triggers.model import Policy, VolumeRule

_CANARY_STEPS = (0.25, 0.5)
_FEWEST_RECENT, _FEWEST_RECENT_WINDOWS, _RECENT_WINDOWS, _MOST_RECENT_WINDOWS = 150, 2, 6, 12
_FEW_REQUESTS = 1_500
# One in ten candidates that are no better may pass its gate: what it then does as a canary is looked at once more.
_GATE_LEVEL = 0.8


def plan_of(name: str, split: Split, dataset: str, *, metric: str | None, seed: int) -> Plan:
    """Give the plan of every training of a turn: how much counts as recent follows from the size of the windows."""
    rows = split.windows[0].stop - split.windows[0].start
    return Plan(
        name=name,
        target=split.target,
        dataset=dataset,
        time=split.dated,
        key=split.key,
        metric=metric,
        seed=seed,
        recent=max(_FEWEST_RECENT, _RECENT_WINDOWS * rows),
        fewest_recent=max(_FEWEST_RECENT, _FEWEST_RECENT_WINDOWS * rows),
        most_recent=max(_FEWEST_RECENT, _MOST_RECENT_WINDOWS * rows),
        gate=GatePolicy(level=_GATE_LEVEL),
        rollout=rollout_of(max(1, rows // split.rows_per_request)),
    )


def policy_of(plan: Plan, volume: VolumeRule | None = None) -> Policy:
    """Say when training starts: on alarms, and with *volume* regularly too; refusals then wait longer."""
    windows = 1 if volume is None else 2
    return Policy(pipeline=PIPELINE, parameters=msgspec.to_builtins(plan), cooldown_windows=windows, volume=volume)


def rollout_of(requests: int) -> RolloutPolicy:
    """Give a rollout that takes about one window of *requests* requests."""
    enough = max(25, requests // 4)
    return RolloutPolicy(
        steps=_CANARY_STEPS,
        step_requests=max(5, requests // 12),
        min_requests=enough,
        # So few requests cannot show that arms differ by less.
        error_margin=max(0.05, 5 / enough) if requests < _FEW_REQUESTS else 0.01,
        latency_margin=max(0.1, 5 / enough),
        latency_floor_ms=50.0,
    )
