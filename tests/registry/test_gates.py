import time

import numpy as np
import pytest

from mainspring.core.errors import InvalidData
from mainspring.registry.gate_model import GatePolicy, Holdout
from mainspring.registry.model import ModelVersion

QUICK = {"max_p99_ms": 1000, "latency_requests": 30}
ROWS = 400


class Fixed:
    """A session that answers what it was told to, by the values of the column x."""

    def __init__(self, chances, delay_s=0.0):
        self.chances, self.delay_s = chances, delay_s

    def predict(self, columns):
        time.sleep(self.delay_s)
        p = np.array([self.chances[int(x)] for x in columns["x"]])
        label = np.where(p > 0.5, "yes", "no")
        return {"label": label, "probabilities": np.column_stack([1 - p, p])}

    def close(self):
        pass


class Answers:
    """Opens each version as the session that stands under its number."""

    def __init__(self, **sessions):
        self.sessions = sessions

    def open(self, version: ModelVersion):
        return self.sessions[f"v{version.version}"]


def truth(seed=0):
    return np.random.default_rng(seed).integers(0, 2, ROWS)


def right_for(values, share, seed):
    """Give chances that are right for a share of the rows."""
    good = np.random.default_rng(seed).random(len(values)) < share
    return np.where(good == (values == 1), 0.8, 0.2)


def holdout(values, **groups):
    labels = ["yes" if value else "no" for value in values]
    columns = {"x": list(range(len(values))), "town": ["a"] * len(values)}
    return Holdout(columns=columns, truth=labels, dataset="dataset:d@1", groups=groups)


@pytest.fixture
def evaluate(registry, digest):
    registry.register("m", digest)
    registry.register("m", digest)
    registry.promote("m", 1, force="the first")

    def run(candidate, champion, held, **policy):
        scorer = Answers(v1=champion, v2=candidate)
        return registry.evaluate_gates("m", 2, held, policy=GatePolicy(**{**QUICK, **policy}), scorer=scorer)

    return run


def test_a_difference_within_the_noise_is_no_improvement(evaluate):
    values = truth()
    report = evaluate(Fixed(right_for(values, 0.82, 1)), Fixed(right_for(values, 0.80, 2)), holdout(values))
    check = report.check("better_than_champion")
    assert not check.passed
    assert check.low < 0 < check.high
    assert "its lower bound must lie above 0" in check.detail


def test_a_clear_improvement_passes_but_not_by_a_margin_above_it(evaluate):
    values = truth()
    models = Fixed(right_for(values, 0.95, 1)), Fixed(right_for(values, 0.7, 2))
    assert evaluate(*models, holdout(values)).check("better_than_champion").passed
    assert not evaluate(*models, holdout(values), margin=0.24).check("better_than_champion").passed


def test_a_model_below_the_trivial_answer_is_refused_even_without_a_champion(registry, digest):
    registry.register("m", digest)
    values = (np.arange(ROWS) % 10 == 0).astype(int)
    scorer = Answers(v1=Fixed(right_for(values, 0.6, 1)))
    report = registry.evaluate_gates("m", 1, holdout(values), policy=GatePolicy(**QUICK), scorer=scorer)
    assert [check.name for check in report.failed] == ["not_worse_than_baseline"]


def test_a_slow_model_is_refused_with_its_p99(evaluate):
    values = truth()
    slow = Fixed(right_for(values, 0.95, 1), delay_s=0.004)
    check = evaluate(slow, Fixed(right_for(values, 0.6, 2)), holdout(values), max_p99_ms=3).check("latency_p99_ms")
    assert not check.passed
    assert check.value >= 4
    assert "one-row requests" in check.detail


def test_the_served_engine_itself_is_measured(registry, digest):
    registry.register("m", digest)
    columns = {"x": [float(n) for n in range(-50, 50)], "town": ["a"] * 100}
    held = Holdout(columns=columns, truth=["yes" if x > 0 else "no" for x in columns["x"]], dataset="dataset:d@1")
    report = registry.evaluate_gates("m", 1, held, policy=GatePolicy(max_p99_ms=1000))
    assert 0 < report.check("latency_p99_ms").value < 1000
    assert report.check("memory_bytes").value is not None
    assert report.check("size_bytes").value == registry.get_version("m", 1).size_bytes


def test_a_large_model_is_refused(evaluate):
    values = truth()
    report = evaluate(
        Fixed(right_for(values, 0.9, 1)), Fixed(right_for(values, 0.6, 2)), holdout(values), max_size_bytes=9
    )
    assert "at most 9" in report.check("size_bytes").detail
    assert not report.passed


def test_too_few_rows_decide_nothing(evaluate):
    values = truth()[:20]
    report = evaluate(Fixed(right_for(values, 1, 1)), Fixed(right_for(values, 0.1, 2)), holdout(values))
    assert not report.check("holdout_rows").passed


def test_a_group_that_is_selected_less_is_named_with_the_ratio(evaluate):
    values, group = truth(), np.arange(ROWS) % 2
    fair = right_for(values, 0.9, 1)
    unfair = np.where(group == 1, 0.1, fair)
    held = holdout(values, sex=["f" if g else "m" for g in group])
    base = Fixed(right_for(values, 0.5, 3))
    assert evaluate(Fixed(fair), base, held, protected=["sex"]).check("selection_ratio.sex").passed
    report = evaluate(Fixed(unfair), base, held, protected=["sex"])
    check = report.check("selection_ratio.sex")
    assert not check.passed
    assert check.high < 0.8
    assert "0.0% of 'f'" in check.detail
    assert not report.check("true_positive_gap.sex").passed


def test_a_group_with_more_errors_is_named_with_the_gap(evaluate):
    values, group = truth(), np.arange(ROWS) % 2
    mixed = np.where(group == 1, right_for(values, 0.55, 1), right_for(values, 0.97, 2))
    held = holdout(values, sex=["f" if g else "m" for g in group])
    report = evaluate(Fixed(mixed), Fixed(right_for(values, 0.5, 3)), held, protected=["sex"])
    check = report.check("error_gap.sex")
    assert not check.passed
    assert check.low > 0.1


def test_groups_too_small_to_judge_are_refused_rather_than_passed(evaluate):
    values = truth()
    held = holdout(values, sex=["f"] * 5 + ["m"] * (ROWS - 5))
    report = evaluate(Fixed(right_for(values, 0.9, 1)), Fixed(right_for(values, 0.5, 3)), held, protected=["sex"])
    assert "two are needed" in report.check("fairness.sex").detail


def test_a_protected_column_must_be_there(evaluate):
    values = truth()
    with pytest.raises(InvalidData, match="'sex'"):
        evaluate(Fixed(right_for(values, 0.9, 1)), Fixed(right_for(values, 0.5, 3)), holdout(values), protected=["sex"])


def test_a_holdout_must_have_the_columns_of_the_model(registry, digest):
    registry.register("m", digest)
    held = Holdout(columns={"x": [1.0]}, truth=["yes"], dataset="dataset:d@1")
    with pytest.raises(InvalidData, match="town"):
        registry.evaluate_gates("m", 1, held)
    with pytest.raises(InvalidData, match="no row"):
        registry.evaluate_gates("m", 1, Holdout(columns={}, truth=[], dataset="dataset:d@1"))
