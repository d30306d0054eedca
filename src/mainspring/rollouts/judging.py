"""What a look at two arms shows, and what follows from it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from mainspring.rollouts.model import (
    MEASURES,
    ArmReading,
    Decision,
    Look,
    Measure,
    MeasureName,
    Progress,
    Reading,
    Rollout,
    RolloutPolicy,
    Verdict,
)
from mainspring.rollouts.sequential import (
    Bounds,
    Clusters,
    Comparison,
    Sample,
    advance,
    bounds,
    design_effect,
    sample_ratio_p_value,
    started_at,
)

MIN_STABLE_REQUESTS = 100
MIN_LABELLED = 30
MIN_UNITS = 10
"""From so many units on, a canary that fails them all is proven to be harmful by its units."""


def slow_from(policy: RolloutPolicy, stable: ArmReading) -> int | None:
    """Give the latency in microseconds beyond which a request is slow; None before the stable arm has shown enough."""
    if stable.requests < min(MIN_STABLE_REQUESTS, policy.min_requests) or stable.latency_us is None:
        return None
    tolerated = stable.latency_us * policy.latency_tolerance
    return round(stable.latency_us + max(tolerated, policy.latency_floor_ms * 1000))


def with_slow(progress: Progress, slow_us: int, reading: Reading) -> Progress:
    """Begin to compare latencies, after this reading, whose slow requests were counted with *slow_us*."""
    begun = started_at(_sample("latency", reading.canary), _sample("latency", reading.stable))
    return msgspec.structs.replace(progress, slow_us=slow_us, comparisons={**progress.comparisons, "latency": begun})


def judge(rollout: Rollout, reading: Reading, now: datetime) -> tuple[Look, Progress]:
    """Take a reading into the comparisons and decide; the progress given is that after the decision."""
    policy, before = rollout.policy, rollout.progress
    comparisons = {name: _advanced(name, before, reading, policy) for name in MEASURES}
    measures = [_measure(name, comparisons[name], policy, reading) for name in MEASURES]
    p_value = sample_ratio_p_value(
        reading.canary.assigned, reading.stable.assigned, rollout.share, policy.sample_ratio_tolerance
    )
    decision, reason = _decide(rollout, reading, measures, p_value)
    grown = decision == "grow"
    look = Look(
        number=before.looks + 1,
        at=now,
        share=rollout.share,
        reading=reading,
        measures=measures,
        sample_ratio_p_value=p_value,
        decision=decision,
        reason=reason,
        next_share=policy.steps[before.step + 1] if grown else None,
    )
    progress = msgspec.structs.replace(
        before,
        comparisons=comparisons,
        looks=look.number,
        step=before.step + grown,
        step_began_at_requests=reading.canary.requests if grown else before.step_began_at_requests,
        step_began=now if grown else before.step_began,
    )
    return look, progress


def _decide(rollout: Rollout, reading: Reading, measures: list[Measure], sample_ratio: float) -> tuple[Decision, str]:
    policy, progress, canary = rollout.policy, rollout.progress, reading.canary
    harmed = [measure for measure in measures if measure.verdict == "harm"]
    if harmed:
        return "rollback", "; ".join(_harm(measure) for measure in harmed)
    if sample_ratio < policy.sample_ratio_alpha / len(policy.steps):
        shown = canary.assigned / (canary.assigned + reading.stable.assigned)
        return "rollback", (
            f"the canary got {shown:.3%} of the units where {rollout.share:.3%} was meant (p = {sample_ratio:.2g}): "
            "one arm loses requests, so that the arms cannot be compared"
        )
    missing = policy.step_requests - (canary.requests - progress.step_began_at_requests)
    if missing > 0:
        return "continue", f"{missing} more requests to the canary at this share"
    if suspects := [measure for measure in measures if measure.verdict == "suspect"]:
        told = "; ".join(_harm(measure) for measure in suspects)
        return "rollback", f"{told}; fewer than {MIN_UNITS} units cannot prove it, and no more of them shall be exposed"
    if progress.step + 1 < len(policy.steps):
        share = policy.steps[progress.step + 1]
        return "grow", f"no harm in {canary.requests} requests to the canary: on to a share of {share:g}"
    if canary.requests < policy.min_requests:
        return "continue", f"{policy.min_requests - canary.requests} more requests to the canary before a promotion"
    open_ = [measure.name for measure in measures if not _is_enough(measure, policy)]
    if not open_:
        return "promote", "; ".join(_fine(measure) for measure in measures if measure.verdict == "fine")
    if canary.requests >= policy.patience_requests:
        return "rollback", f"{' and '.join(open_)} not shown to be no worse in {canary.requests} requests"
    return "continue", f"{' and '.join(open_)} not yet shown to be no worse"


def _is_enough(measure: Measure, policy: RolloutPolicy) -> bool:
    if measure.verdict == "fine":
        return measure.name != "quality" or measure.canary_rows >= policy.min_labels
    return measure.name == "quality" and policy.min_labels == 0


def _measure(name: MeasureName, comparison: Comparison, policy: RolloutPolicy, reading: Reading) -> Measure:
    canary, stable = (
        whole.since(start)
        for whole, start in zip((comparison.canary, comparison.stable), comparison.start, strict=True)
    )
    alpha = policy.alpha / len(MEASURES)
    margin = _margin(name, policy, stable)
    effect = design_effect(*((_sample(name, arm), _clusters(name, arm)) for arm in (reading.canary, reading.stable)))
    seen = bounds(comparison, alpha, effect)
    verdict = _verdict(name, seen, canary, stable, alpha, margin)
    if verdict == "open" and _clusters(name, reading.canary).units < MIN_UNITS:
        # As far as the rows go: a machine or two that are broken must not be taken for chance until all are.
        rows_say = _verdict(name, bounds(comparison, alpha), canary, stable, alpha, margin)
        verdict = "suspect" if rows_say == "harm" else verdict
    return Measure(
        name=name,
        canary=canary.mean,
        stable=stable.mean,
        canary_rows=canary.count,
        stable_rows=stable.count,
        bounds=seen,
        alpha=alpha,
        margin=margin,
        verdict=verdict,
        design_effect=effect,
    )


def _verdict(
    name: MeasureName, seen: Bounds, canary: Sample, stable: Sample, alpha: float, margin: float | None
) -> Verdict:
    if seen.low is None or seen.high is None or margin is None:
        return "not measured"
    if seen.high <= margin:
        return "fine"
    if seen.p_value is not None:
        return "harm" if seen.p_value <= alpha else "open"
    # The bounds of means that are no shares hold for many rows only.
    enough = min(canary.count, stable.count) >= MIN_LABELLED
    return "harm" if enough and seen.low > 0 else "open"


def _margin(name: MeasureName, policy: RolloutPolicy, stable: Sample) -> float | None:
    if name == "errors":
        return policy.error_margin
    if name == "latency":
        return policy.latency_margin
    return None if stable.mean is None else policy.quality_margin * abs(stable.mean)


def _advanced(name: MeasureName, before: Progress, reading: Reading, policy: RolloutPolicy) -> Comparison:
    if name == "latency" and before.slow_us is None:
        return Comparison()
    comparison = before.comparisons.get(name, Comparison())
    return advance(comparison, _sample(name, reading.canary), _sample(name, reading.stable), policy.min_requests)


def _sample(name: MeasureName, arm: ArmReading) -> Sample:
    if name == "errors":
        return Sample.of_events(arm.errors, arm.requests)
    if name == "latency":
        return Sample.of_events(arm.slow, arm.requests)
    return arm.losses


def _clusters(name: MeasureName, arm: ArmReading) -> Clusters:
    return arm.clusters.get(name, Clusters())


def _harm(measure: Measure) -> str:
    what = {"errors": "more errors", "latency": "more slow requests", "quality": "larger losses"}[measure.name]
    proof = (
        f"always-valid p = {measure.bounds.p_value:.2g}"
        if measure.bounds.p_value is not None
        else (f"the difference is at least {measure.bounds.low:.4g}")
    )
    return (
        f"{what}: {_number(measure, measure.canary)} against {_number(measure, measure.stable)} "
        f"({measure.canary_rows} and {measure.stable_rows} rows, {proof}, level {measure.alpha:.3g})"
    )


def _fine(measure: Measure) -> str:
    return (
        f"{measure.name} {_number(measure, measure.canary)} against {_number(measure, measure.stable)}, "
        f"at most {measure.bounds.high:.4g} worse (margin {measure.margin:.4g})"
    )


def _number(measure: Measure, value: float | None) -> str:
    if value is None:
        return "nothing"
    return f"{value:.4g}" if measure.name == "quality" else f"{value:.2%}"
