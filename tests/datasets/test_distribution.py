"""Differences between samples: calibrated by chance, sized by effect."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from mainspring.datasets.distribution import chi_squared_tail, difference, kolmogorov_smirnov


@pytest.mark.parametrize("degrees", [1, 2, 7, 50, 400])
@pytest.mark.parametrize("factor", [0.01, 0.5, 1.0, 1.5, 4.0])
def test_the_chi_squared_tail_is_scipy_s(degrees: int, factor: float) -> None:
    x = degrees * factor
    assert chi_squared_tail(x, degrees) == pytest.approx(stats.chi2.sf(x, degrees), rel=1e-8, abs=1e-14)


def test_the_distance_is_scipy_s_and_its_probability_close() -> None:
    rng = np.random.default_rng(0)
    for shift in (0.0, 0.1, 0.3):
        a, b = rng.normal(size=400), rng.normal(shift, size=700)
        found, wanted = kolmogorov_smirnov(a, b), stats.ks_2samp(a, b, method="asymp")
        assert found.effect == pytest.approx(wanted.statistic)
        assert found.p_value == pytest.approx(wanted.pvalue, rel=0.25, abs=0.02)


@pytest.mark.parametrize("kind", ["numbers", "ties", "levels"])
def test_chance_alone_raises_no_more_alarms_than_promised(kind: str) -> None:
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(400):
        a, b = rng.normal(size=300), rng.normal(size=200)
        if kind != "numbers":
            a, b = a.round(), b.round()
        x, y = pl.Series("x", a), pl.Series("x", b)
        found = difference(x.cast(pl.String), y.cast(pl.String)) if kind == "levels" else difference(x, y)
        assert found is not None
        alarms += found.p_value < 0.05
    # 20 are expected; 35 would be more than three standard deviations too many.
    assert alarms < 35
    assert kind == "ties" or alarms > 5


def test_a_difference_has_a_size() -> None:
    found = difference(pl.Series("s", ["a"] * 50 + ["b"] * 50), pl.Series("s", ["a"] * 100))
    assert found is not None and found.effect == pytest.approx(0.5) and found.p_value < 1e-9
    missing = difference(pl.Series("s", ["a", None] * 50), pl.Series("s", ["a"] * 100))
    assert missing is not None and missing.effect == pytest.approx(0.5)
    assert difference(pl.Series("x", [1.0]), pl.Series("x", [None], dtype=pl.Float64)) is None
