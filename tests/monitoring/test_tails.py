import numpy as np
import pytest
from scipy import stats

from mainspring.monitoring.tails import f_above, share_above, sum_above, t_above


@pytest.mark.parametrize("value", [0.3, 1.0, 4.0, 30.0])
@pytest.mark.parametrize("freedom", [(1, 7), (4.5, 38.2), (9, 1e5)])
def test_the_tail_of_f_is_that_of_scipy(value: float, freedom: tuple[float, float]):
    assert f_above(value, *freedom) == pytest.approx(stats.f.sf(value, *freedom), rel=1e-7)


@pytest.mark.parametrize("value", [-2.0, 0.0, 1.5, 12.0])
def test_the_tail_of_t_is_that_of_scipy(value: float):
    assert t_above(value, 11) == pytest.approx(stats.t.sf(value, 11), rel=1e-9)


@pytest.mark.parametrize(
    ("count", "rows", "before", "rows_before"), [(3, 200, 0, 5000), (30, 500, 200, 5000), (1, 9, 2, 20)]
)
def test_the_predictive_tail_of_a_share_is_that_of_scipy(count: int, rows: int, before: int, rows_before: int):
    expected = stats.betabinom.sf(count - 1, rows, before + 0.5, rows_before - before + 0.5)
    assert share_above(count, rows, before, rows_before) == pytest.approx(expected, rel=1e-6)


def test_a_share_alarms_no_more_often_than_its_level_says():
    rng = np.random.default_rng(4)
    before, after = rng.binomial(4000, 0.02, 4000), rng.binomial(300, 0.02, 4000)
    tails = [share_above(a, 300, b, 4000) for a, b in zip(after, before, strict=True)]
    assert np.mean(np.array(tails) <= 0.01) <= 0.015


def test_the_tail_of_equal_weights_is_that_of_f():
    for value in (20.0, 40.0, 90.0):
        assert sum_above(value, [1.0] * 9, 40) == pytest.approx(stats.f.sf(value / 9, 9, 40), rel=0.08)


def test_the_tail_of_unequal_weights_is_that_of_a_simulation():
    rng = np.random.default_rng(2)
    weights = [8.0, 2.0, 1.0, 0.5]
    drawn = (rng.chisquare(1, (1_000_000, 4)) * weights).sum(axis=1) / (rng.chisquare(12, 1_000_000) / 12)
    for value in (30.0, 60.0, 120.0):
        assert sum_above(value, weights, 12) == pytest.approx(np.mean(drawn > value), rel=0.1)
