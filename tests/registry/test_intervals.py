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


def rare(rows: int, rng: np.random.Generator) -> tuple[np.ndarray, Scores, Scores]:
    """Two equally good models where one row of ten is positive."""
    chance = rng.beta(0.5, 4.5, rows)
    odds = np.log(chance.clip(1e-3, 1 - 1e-3) / (1 - chance).clip(1e-3, 1 - 1e-3))

    def answer() -> Scores:
        p = 1 / (1 + np.exp(-(odds + rng.normal(size=rows))))
        return Scores((p > 0.5).astype(int), np.column_stack([1 - p, p]))

    return (rng.random(rows) < chance).astype(int), answer(), answer()


def tailed(rows: int, rng: np.random.Generator) -> tuple[np.ndarray, Scores, Scores]:
    """Two equally good models of a number whose errors have heavy tails."""
    signal = rng.normal(size=rows)
    truth = signal + rng.standard_t(3, rows)
    return truth, Scores(signal + rng.normal(size=rows)), Scores(signal + rng.normal(size=rows))


@pytest.mark.parametrize(
    ("metric", "make"),
    [
        *((metric, binary) for metric in ("accuracy", "f1", "roc_auc", "average_precision", "log_loss")),
        *((metric, rare) for metric in ("accuracy", "f1", "roc_auc", "precision", "balanced_accuracy", "brier")),
        *((metric, tailed) for metric in ("rmse", "mae", "r2")),
    ],
)
@pytest.mark.parametrize("rows", [50, 300])
def test_a_model_that_is_no_better_is_taken_for_better_no_more_often_than_the_level_allows(metric, make, rows):
    # Of a two-sided 95 % interval one side: 2.5 %. More than 4.2 % of 1000 have a chance below 0.001.
    rng = np.random.default_rng(3)
    undecided, won = 0, 0
    for _ in range(1000):
        found = compare(metric, *make(rows, rng))
        undecided += found.low is None
        won += found.low is not None and found.low > 0
    assert won <= 42
    assert undecided <= 20


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


def test_a_variance_that_few_rows_carry_makes_the_interval_wider():
    even, uneven = np.tile([1.0, -1.0], 50), np.r_[[10.0, -10.0], np.zeros(98)] / np.sqrt(2)
    assert np.var(even) == pytest.approx(np.var(uneven))
    narrow, wide = mean_span(even), mean_span(uneven)
    assert narrow.high == pytest.approx(1.984 * 0.1, rel=1e-3)  # Student's t of 99
    assert wide.high == pytest.approx(2.776 * 0.1, rel=1e-3)  # Student's t of 4: two rows hold all of the variance


def test_an_interval_stays_within_what_the_metric_can_be():
    truth = np.tile([0, 1], 15)
    chance = np.where(truth == 1, 0.9, 0.1)
    chance[:2] = [0.5, 0.45]
    scores = Scores((chance > 0.5).astype(int), np.column_stack([1 - chance, chance]))
    for metric in ("roc_auc", "log_loss", "brier", "f1"):
        found = estimate(metric, truth, scores)
        assert 0 <= found.low <= found.value <= found.high
        assert metric == "log_loss" or found.high <= 1


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
