"""The gates before a promotion: each check measures one thing and holds it against a bound of the policy."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np

from mainspring.core.errors import InvalidData, InvalidRequest
from mainspring.registry.answers import scores_of, truth_of
from mainspring.registry.fairness import fairness, groups_of
from mainspring.registry.gate_model import Check, GatePolicy, Holdout
from mainspring.registry.intervals import Comparison, compare, estimate
from mainspring.registry.model import ServableVersion
from mainspring.registry.quality import Array, Scores, default_metric, trivial
from mainspring.registry.resampling import compare_by_bootstrap, compare_by_delong
from mainspring.registry.signature import ModelInfo

_WARM_UP = 20
_LATENCY_LIMIT_S = 5.0


class Session(Protocol):
    """A model that is open for scoring."""

    def predict(self, columns: Mapping[str, Any]) -> Mapping[str, Any]: ...

    def close(self) -> None: ...


class Scorer(Protocol):
    """Opens a model version in the engine that would serve it."""

    def open(self, version: ServableVersion) -> Session: ...


class Measured(msgspec.Struct, frozen=True):
    """What a model answered on the holdout, how long single requests took (ms), and the memory that it took (bytes)."""

    scores: Scores
    latencies_ms: Array
    memory_bytes: int | None


def choose_metric(policy: GatePolicy, info: ModelInfo, truth: Array) -> str:
    """Give the metric of the gates: the policy's, else the model's own, else that of the task."""
    if policy.metric or info.metric:
        return policy.metric or info.metric or ""
    share = float(np.bincount(truth[truth >= 0]).min() / len(truth)) if info.task == "binary" else 0.5
    return default_metric(info.task or "multiclass", share)


def measure_model(scorer: Scorer, version: ServableVersion, holdout: Holdout, requests: int) -> Measured:
    """Open a version as it would be served, score the holdout, then time one-row requests."""
    before = _resident_bytes(None)
    session = scorer.open(version)
    try:
        names = [field.name for field in version.info.signature.inputs]
        columns = _columns(version, holdout, names)
        scores = scores_of(version.info, session.predict(columns))
        latencies = _latencies(session, columns, requests)
        return Measured(scores, latencies, _memory(session, before))
    finally:
        session.close()


def score_model(scorer: Scorer, version: ServableVersion, holdout: Holdout) -> Scores:
    """Open a version and score the holdout."""
    session = scorer.open(version)
    try:
        names = [field.name for field in version.info.signature.inputs]
        return scores_of(version.info, session.predict(_columns(version, holdout, names)))
    finally:
        session.close()


def run_checks(
    policy: GatePolicy,
    version: ServableVersion,
    metric: str,
    truth: Array,
    holdout: Holdout,
    candidate: Measured,
    champion: tuple[ServableVersion, Scores] | None,
) -> Iterator[Check]:
    """Yield every check that the policy asks for."""
    yield _rows(policy, truth)
    yield _improvement(policy, metric, truth, candidate.scores, champion)
    if policy.beat_baseline:
        yield _baseline(policy, metric, truth, candidate.scores, version.info)
    if policy.max_p99_ms is not None:
        yield _latency(policy.max_p99_ms, candidate.latencies_ms)
    if policy.max_size_bytes is not None:
        yield _size(policy.max_size_bytes, version)
    if policy.max_memory_bytes is not None:
        yield _memory_check(policy.max_memory_bytes, candidate.memory_bytes)
    if champion is not None:
        for column in policy.subgroups:
            yield from _subgroups(policy, column, metric, truth, holdout, candidate.scores, champion[1])
    for column in policy.protected:
        yield from fairness(policy, column, holdout, truth, candidate.scores, version.info)


def _rows(policy: GatePolicy, truth: Array) -> Check:
    return Check(
        name="holdout_rows",
        passed=len(truth) >= policy.min_rows,
        value=float(len(truth)),
        bound=float(policy.min_rows),
        detail=f"{len(truth)} labelled rows, at least {policy.min_rows} are needed",
    )


def _improvement(
    policy: GatePolicy, metric: str, truth: Array, scores: Scores, champion: tuple[ServableVersion, Scores] | None
) -> Check:
    if champion is None:
        alone = estimate(metric, truth, scores, level=policy.level)
        bounds = f"[{_number(alone.low)}, {_number(alone.high)}]"
        return Check(
            name="better_than_champion",
            passed=alone.value is not None,
            value=alone.value,
            bound=None,
            low=alone.low,
            high=alone.high,
            detail=f"{metric} {_number(alone.value)} {bounds}; there is no champion yet",
        )
    other, theirs = champion
    found = _compared(policy, metric, truth, scores, theirs)
    said = (
        f"{metric} {_number(found.candidate)} against {_number(found.champion)} of {other.ref}: improvement "
        f"{_number(found.improvement)} [{_number(found.low)}, {_number(found.high)}] at {policy.level:.0%} on "
        f"{found.rows} shared rows ({found.method}); its lower bound must lie above {policy.margin:g}"
    )
    return Check(
        name="better_than_champion",
        passed=found.low is not None and found.low > policy.margin,
        value=found.improvement,
        bound=policy.margin,
        low=found.low,
        high=found.high,
        detail=said,
    )


def _compared(policy: GatePolicy, metric: str, truth: Array, scores: Scores, theirs: Scores) -> Comparison:
    if policy.interval == "bootstrap":
        return compare_by_bootstrap(metric, truth, scores, theirs, level=policy.level)
    if policy.interval == "delong":
        if metric != "roc_auc":
            raise InvalidRequest(
                f"DeLong's interval is one of roc_auc, and the metric is {metric}: set metric or interval"
            )
        return compare_by_delong(truth, scores, theirs, level=policy.level)
    return compare(metric, truth, scores, theirs, level=policy.level)


def _subgroups(
    policy: GatePolicy, column: str, metric: str, truth: Array, holdout: Holdout, scores: Scores, theirs: Scores
) -> Iterator[Check]:
    groups = groups_of(policy, column, holdout)
    # Of many groups one looks worse by chance: together they shall do so no oftener than one alone.
    level = 1 - (1 - policy.level) / max(1, len(groups))
    for group, rows in groups.items():
        mine, other = (_rows_of(one, rows) for one in (scores, theirs))
        found = compare(metric, truth[rows], mine, other, level=level)
        said = (
            f"{metric} {_number(found.candidate)} against {_number(found.champion)} on {found.rows} rows: improvement "
            f"{_number(found.improvement)} [{_number(found.low)}, {_number(found.high)}] at {level:.1%}; its upper "
            f"bound must not lie below {-policy.subgroup_margin:g}"
        )
        yield Check(
            name=f"not_worse_for.{column}={group}",
            passed=found.high is None or found.high >= -policy.subgroup_margin,
            value=found.improvement,
            bound=-policy.subgroup_margin,
            low=found.low,
            high=found.high,
            detail=said,
        )


def _rows_of(scores: Scores, rows: Array) -> Scores:
    return Scores(scores.label[rows], None if scores.probabilities is None else scores.probabilities[rows])


def _baseline(policy: GatePolicy, metric: str, truth: Array, scores: Scores, info: ModelInfo) -> Check:
    plain = trivial(info.task or "multiclass", truth, len(info.classes or []))
    found = compare(metric, truth, scores, plain, level=policy.level)
    said = (
        f"{metric} {_number(found.candidate)} against {_number(found.champion)} of the best answer that looks at no "
        f"column: {_number(found.improvement)} [{_number(found.low)}, {_number(found.high)}] must not lie below 0"
    )
    return Check(
        name="not_worse_than_baseline",
        passed=found.high is not None and found.high >= 0,
        value=found.improvement,
        bound=0.0,
        low=found.low,
        high=found.high,
        detail=said,
    )


def _latency(bound_ms: float, latencies_ms: Array) -> Check:
    p50, p99 = (float(np.quantile(latencies_ms, q)) for q in (0.5, 0.99))
    said = f"p99 {p99:.3g} ms, p50 {p50:.3g} ms over {len(latencies_ms)} one-row requests; at most {bound_ms:g} ms"
    return Check(name="latency_p99_ms", passed=p99 <= bound_ms, value=p99, bound=bound_ms, detail=said)


def _size(bound: int, version: ServableVersion) -> Check:
    said = f"{version.size_bytes} bytes of files; at most {bound}"
    passed = version.size_bytes <= bound
    return Check(name="size_bytes", passed=passed, value=float(version.size_bytes), bound=float(bound), detail=said)


def _memory_check(bound: int, found: int | None) -> Check:
    if found is None:
        said = "the memory could not be measured on this system"
        return Check(name="memory_bytes", passed=True, value=None, bound=float(bound), detail=said)
    said = f"{found} bytes resident more than before it was opened; at most {bound}"
    return Check(name="memory_bytes", passed=found <= bound, value=float(found), bound=float(bound), detail=said)


# Measuring ------------------------------------------------------------------------------------------------------------


def truth_of_holdout(info: ModelInfo, holdout: Holdout) -> Array:
    """Give the labels of a holdout as the model's codes or as numbers; raises InvalidData when there is none."""
    if not len(holdout.truth):
        raise InvalidData("the holdout has no row; gates need labelled rows")
    return truth_of(info, holdout.truth)


def _columns(version: ServableVersion, holdout: Holdout, names: Sequence[str]) -> dict[str, Any]:
    missing = [name for name in names if name not in holdout.columns]
    if missing:
        raise InvalidData(f"the holdout lacks the columns {', '.join(missing)}, which {version.ref} takes")
    return {name: holdout.columns[name] for name in names}


def _latencies(session: Session, columns: dict[str, Any], requests: int) -> Array:
    rows = len(next(iter(columns.values())))
    singles = [
        {name: values[row : row + 1] for name, values in columns.items()} for row in range(min(rows, max(requests, 1)))
    ]
    for single in singles[:_WARM_UP]:
        session.predict(single)
    taken, began = [], time.perf_counter()
    for number in range(max(requests, 1)):
        start = time.perf_counter()
        session.predict(singles[number % len(singles)])
        end = time.perf_counter()
        taken.append((end - start) * 1e3)
        if end - began > _LATENCY_LIMIT_S:
            break
    return np.array(taken)


def _memory(session: Session, before: int | None) -> int | None:
    child = getattr(session, "pid", None)
    if child is not None:
        return _resident_bytes(child)
    after = _resident_bytes(None)
    return None if before is None or after is None else max(0, after - before)


def _resident_bytes(pid: int | None) -> int | None:
    try:
        pages = int(Path(f"/proc/{pid or 'self'}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError):
        # macOS has no /proc, and tells only the peak of this process, in bytes.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if pid is None else None
    return pages * resource.getpagesize()


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"
