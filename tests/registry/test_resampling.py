"""DeLong's interval is that of the paper, and both intervals hold what they promise."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from mainspring.core.errors import InvalidData, InvalidRequest
from mainspring.registry.gate_model import GatePolicy
from mainspring.registry.intervals import compare
from mainspring.registry.quality import Scores
from mainspring.registry.resampling import compare_by_bootstrap, compare_by_delong
from tests.registry.test_gates import QUICK, Answers, holdout, right_for, truth


def scores(chances: np.ndarray) -> Scores:
    return Scores((chances > 0.5).astype(int), np.column_stack([1 - chances, chances]))


def by_definition(positive: np.ndarray, one: np.ndarray, two: np.ndarray) -> tuple[float, float]:
    """The areas' difference and its standard error, summed over all pairs as equations 4 to 6 of the paper say."""

    def kernel(x: float, y: float) -> float:
        return 1.0 if y < x else 0.5 if y == x else 0.0

    above, below, parts = np.flatnonzero(positive), np.flatnonzero(~positive), []
    for score in (one, two):
        pairs = {(i, j): kernel(score[i], score[j]) for i, j in product(above, below)}
        v10 = [sum(pairs[i, j] for j in below) / len(below) for i in above]
        v01 = [sum(pairs[i, j] for i in above) / len(above) for j in below]
        parts.append((sum(pairs.values()) / len(pairs), v10, v01))
    (first, a10, a01), (second, b10, b01) = parts
    s10 = sum(((x - first) - (y - second)) ** 2 for x, y in zip(a10, b10, strict=True)) / (len(above) - 1)
    s01 = sum(((x - first) - (y - second)) ** 2 for x, y in zip(a01, b01, strict=True)) / (len(below) - 1)
    return first - second, float(np.sqrt(s10 / len(above) + s01 / len(below)))


@pytest.mark.parametrize("seed", range(5))
def test_delong_is_as_the_paper_defines_it_with_ties(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = random.integers(0, 2, 60)
    one, two = (np.round(random.random(60) * 0.5 + rows * share, 1) for share in (0.3, 0.2))
    difference, error = by_definition(rows == 1, one, two)
    found = compare_by_delong(rows, scores(one), scores(two), level=0.95)
    assert found.improvement == pytest.approx(difference)
    assert (found.high - found.improvement) / 1.959963984540054 == pytest.approx(error)
    assert found.method == "delong"


def test_delong_of_a_case_by_hand() -> None:
    # Two positives and two negatives; the first model orders all four, the second two of the four pairs.
    rows = np.array([1, 1, 0, 0])
    found = compare_by_delong(rows, scores(np.array([0.9, 0.8, 0.2, 0.1])), scores(np.array([0.9, 0.1, 0.8, 0.2])))
    assert (found.candidate, found.champion) == (1.0, 0.5)
    # Placements of the second: positives 1 and 0, negatives 1/2 and 1/2; so S10 = 1/2, S01 = 0, variance 1/4.
    assert found.high - found.improvement == pytest.approx(1.959963984540054 * 0.5)


def test_delong_holds_its_level() -> None:
    random, missed = np.random.default_rng(3), 0
    for _ in range(400):
        rows = np.repeat([0, 1], 60)
        shared = random.normal(size=120) + rows
        one, two = (shared + random.normal(size=120) for _ in range(2))
        found = compare_by_delong(rows, scores(one), scores(two), level=0.9)
        missed += not found.low <= 0 <= found.high
    assert 20 <= missed <= 62  # 40 expected; within 3.5 standard deviations


def test_the_bootstrap_agrees_with_the_other_intervals_and_with_itself() -> None:
    random = np.random.default_rng(5)
    rows = random.integers(0, 2, 500)
    one, two = (random.random(500) * 0.6 + rows * share for share in (0.4, 0.2))
    for metric in ("roc_auc", "accuracy", "log_loss"):
        pair = scores(np.clip(one, 0.01, 0.99)), scores(np.clip(two, 0.01, 0.99))
        drawn = compare_by_bootstrap(metric, rows, *pair, resamples=600)
        other = compare(metric, rows, *pair)
        assert drawn.improvement == pytest.approx(other.improvement)
        assert drawn.low == pytest.approx(other.low, abs=0.25 * (other.high - other.low))
        assert drawn.high == pytest.approx(other.high, abs=0.25 * (other.high - other.low))
        assert compare_by_bootstrap(metric, rows, *pair, resamples=600) == drawn


def test_what_delong_cannot_judge_is_refused() -> None:
    rows = np.array([0, 1, 1, 1])
    flat = scores(np.full(4, 0.5))
    with pytest.raises(InvalidRequest, match="two rows of each class"):
        compare_by_delong(rows, flat, flat)
    with pytest.raises(InvalidRequest, match="two classes"):
        compare_by_delong(rows, Scores(rows), flat)


@pytest.fixture
def compared(registry, digest):
    registry.register("m", digest)
    registry.register("m", digest)
    registry.promote("m", 1, force="the first")

    def compared(policy, candidate, champion, values, **groups):
        rows = holdout(values, **groups)
        registry.scorer = Answers(v1=_session(champion), v2=_session(candidate))
        return registry.evaluate_gates("m", 2, rows, policy=policy)

    return compared


def _session(chances):
    from tests.registry.test_gates import Fixed

    return Fixed(chances)


@pytest.mark.parametrize(
    ("interval", "metric", "method"), [("bootstrap", "accuracy", "bootstrap of"), ("delong", "roc_auc", "delong")]
)
def test_a_policy_chooses_the_interval(compared, interval, metric, method):
    values = truth()
    policy = GatePolicy(interval=interval, metric=metric, **QUICK)
    report = compared(policy, right_for(values, 0.9, 1), right_for(values, 0.7, 2), values)
    assert report.passed
    assert method in report.check("better_than_champion").detail


def test_delong_is_refused_for_another_metric(compared):
    values = truth()
    with pytest.raises(InvalidRequest, match="roc_auc"):
        compared(GatePolicy(interval="delong", metric="accuracy", **QUICK), values, values, values)


def test_a_subgroup_that_becomes_worse_is_named(compared):
    values = truth()
    groups = np.where(np.arange(len(values)) % 4 == 0, "old", "new")
    champion = right_for(values, 0.75, 2)
    candidate = np.where(groups == "old", right_for(values, 0.4, 3), right_for(values, 0.99, 4))
    policy = GatePolicy(subgroups=["age"], **QUICK)
    report = compared(policy, candidate, champion, values, age=groups.tolist())
    assert [check.name for check in report.failed] == ["not_worse_for.age=old"]
    assert report.check("not_worse_for.age=new").passed
    lenient = GatePolicy(subgroups=["age"], subgroup_margin=0.6, **QUICK)
    assert compared(lenient, candidate, champion, values, age=groups.tolist()).passed
    with pytest.raises(InvalidData, match="'age' is not in the holdout"):
        compared(policy, candidate, champion, values)
