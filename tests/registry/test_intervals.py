import time

import numpy as np
import pytest

from mainspring.core.errors import InvalidRequest
from mainspring.registry.intervals import (
    compare,
    estimate,
    mean_span,
    share_difference,
    share_ratio,
    wilson,
)
from mainspring.registry.quality import Scores


def binary(rows: int, rng: np.random.Generator, strength: float = 1.0) -> tuple[np.ndarray, Scores, Scores]:
    truth = rng.integers(0, 2, rows)
    shared = rng.normal(size=rows)

    def answer(signal: float) -> Scores:
        p = 1 / (1 + np.exp(-(signal * (2 * truth - 1) + shared + rng.normal(size=rows) * 0.5)))
        return Scores((p > 0.5).astype(int), np.column_stack([1 - p, p]))

    return truth, answer(strength), answer(1.0)


def test_wilson_equals_the_published_example():
    # Newcombe, Two-sided confidence intervals for the single proportion, 1998: 81 of 263.
    span = wilson(81, 263)
    assert (round(span.low, 4), round(span.high, 4)) == (0.2553, 0.3662)
    assert wilson(0, 0).high == 1


def test_the_difference_of_shares_equals_the_published_example():
    # Newcombe, Interval estimation for the difference between independent proportions, 1998: 56/70 - 48/80, method 10.
    span = share_difference((56, 70), (48, 80))
    assert (round(span.low, 4), round(span.high, 4)) == (0.0524, 0.3339)


def test_a_ratio_of_shares_stays_finite_without_successes():
    span = share_ratio((0, 50), (10, 50))
    assert 0 < span.low < span.value < span.high < 2
    assert share_ratio((20, 50), (10, 50)).value == 2


@pytest.mark.parametrize("metric", ["accuracy", "f1", "roc_auc", "average_precision", "log_loss", "balanced_accuracy"])
@pytest.mark.parametrize("rows", [200, 900])
def test_equal_models_are_told_apart_no_more_often_than_the_level_allows(metric, rows):
    # A true 95 % interval misses more than 9 of 60 times with a chance below 0.001, more than 4 of 12 below 0.0002.
    rounds = 60 if rows >= 400 or metric == "accuracy" else 12
    missed = 0
    for seed in range(rounds):
        truth, a, b = binary(rows, np.random.default_rng(seed))
        found = compare(metric, truth, a, b, seed=seed)
        missed += not found.low <= 0 <= found.high
    assert missed <= (9 if rounds == 60 else 4)


@pytest.mark.parametrize("metric", ["accuracy", "roc_auc", "log_loss"])
def test_a_better_model_is_seen_to_be_better(metric):
    truth, better, worse = binary(3000, np.random.default_rng(1), strength=1.6)
    found = compare(metric, truth, better, worse)
    assert found.low > 0
    turned = compare(metric, truth, worse, better)
    assert turned.improvement == pytest.approx(-found.improvement)
    assert turned.high < 0


def test_rows_in_common_make_the_difference_sharper_than_the_parts():
    truth, a, b = binary(3000, np.random.default_rng(1))
    difference = compare("roc_auc", truth, a, b)
    alone = estimate("roc_auc", truth, a)
    assert difference.high - difference.low < 0.8 * (alone.high - alone.low)


def test_few_disagreements_decide_nothing():
    truth = np.ones(1000, int)
    better, worse = Scores(np.ones(1000, int)), Scores(np.r_[np.zeros(4, int), np.ones(996, int)])
    found = compare("accuracy", truth, better, worse)
    assert found.improvement == pytest.approx(0.004)
    assert found.low < 0


def test_the_same_answers_differ_by_nothing():
    truth, a, _ = binary(100, np.random.default_rng(0))
    for metric in ("accuracy", "roc_auc", "log_loss"):
        found = compare(metric, truth, a, a)
        assert (found.improvement, found.low, found.high) == (0, 0, 0)


def test_numbers_are_compared_in_their_unit():
    rng = np.random.default_rng(2)
    truth = rng.normal(50, 10, 5000)
    found = compare("rmse", truth, Scores(truth + rng.normal(0, 2, 5000)), Scores(truth + rng.normal(0, 3, 5000)))
    assert found.low < 1 < found.high
    assert found.low > 0.8


def test_both_ways_to_an_interval_agree_on_many_rows():
    truth, a, b = binary(399, np.random.default_rng(5), strength=1.5)
    resampled = compare("roc_auc", truth, a, b)
    twice = [Scores(np.tile(s.label, 4), np.tile(s.probabilities, (4, 1))) for s in (a, b)]
    passed = compare("roc_auc", np.tile(truth, 4), *twice)
    assert (resampled.method, passed.method) == ("paired bca bootstrap", "paired influence")
    assert (resampled.high - resampled.low) == pytest.approx(2 * (passed.high - passed.low), rel=0.15)


def test_a_metric_that_is_not_defined_has_no_bounds():
    truth = np.zeros(50, int)
    found = estimate("roc_auc", truth, Scores(truth, np.full((50, 2), 0.5)))
    assert (found.value, found.low, found.high) == (None, None, None)


def test_a_hundred_thousand_rows_take_well_under_a_second():
    truth, a, b = binary(100_000, np.random.default_rng(0))
    began = time.process_time()
    for metric in ("accuracy", "roc_auc", "log_loss", "average_precision"):
        compare(metric, truth, a, b)
    assert time.process_time() - began < 4


def test_no_row_is_refused():
    with pytest.raises(InvalidRequest, match="no row"):
        estimate("accuracy", np.array([], int), Scores(np.array([], int)))


def test_the_mean_of_one_number_has_no_bounds():
    assert np.isnan(mean_span(np.array([3.0])).low)
    span = mean_span(np.array([1.0, 2.0, 3.0]))
    assert span.low < span.value == 2 < span.high
