"""How different two samples of a column are, and how often chance alone makes them so different."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from mainspring.datasets.profile import as_number

_RARE = 5.0


class Difference(msgspec.Struct, frozen=True):
    """The difference of two distributions: its size from 0 to 1, and the probability of as large a one by chance.

    ``measure`` is ``ks`` (largest distance of the distribution functions) for numbers and instants, ``total_variation``
    (half the sum of the differences of the shares) for levels. Missing values count as a level of their own in the
    latter and are left out of the former.
    """

    measure: str
    effect: float
    p_value: float


def difference(reference: pl.Series, current: pl.Series) -> Difference | None:
    """Compare two samples of one column; None when either has no value to compare."""
    if as_number(reference.name, reference.dtype) is None:
        return _of_levels(reference.cast(pl.String), current.cast(pl.String))
    a, b = _values(reference), _values(current)
    return None if not a.size or not b.size else kolmogorov_smirnov(a, b)


def _values(series: pl.Series) -> npt.NDArray[np.float64]:
    expression = as_number(series.name, series.dtype)
    frame = series.to_frame().select(expression) if expression is not None else series.to_frame()
    return frame.to_series().drop_nulls().cast(pl.Float64).to_numpy()


def kolmogorov_smirnov(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> Difference:
    """Compare two samples of numbers by the two-sample Kolmogorov-Smirnov test.

    The p-value is Kolmogorov's series at ``(sqrt(n) + 0.12 + 0.11 / sqrt(n)) * D`` with n = n1 n2 / (n1 + n2)
    (Stephens, JRSS B 32, 1970). With ties it is too large, never too small: no more false alarms than promised.
    """
    a, b = np.sort(a), np.sort(b)
    both = np.concatenate((a, b))
    distance = float(
        np.abs(np.searchsorted(a, both, "right") / a.size - np.searchsorted(b, both, "right") / b.size).max()
    )
    root = math.sqrt(a.size * b.size / (a.size + b.size))
    return Difference("ks", distance, _kolmogorov_tail((root + 0.12 + 0.11 / root) * distance))


def _kolmogorov_tail(x: float) -> float:
    if x < 0.2:
        return 1.0
    total: float = sum((1 if k % 2 else -1) * math.exp(-2 * k * k * x * x) for k in range(1, 101))
    return min(1.0, max(0.0, 2 * total))


def _of_levels(reference: pl.Series, current: pl.Series) -> Difference | None:
    if not len(reference) or not len(current):
        return None
    counts = pl.concat([_counts(reference, "a"), _counts(current, "b")], how="diagonal").group_by("level").sum()
    table = counts.select(pl.col("a", "b").fill_null(0)).to_numpy().astype(np.float64)
    shares = table / table.sum(axis=0)
    effect = float(np.abs(shares[:, 0] - shares[:, 1]).sum() / 2)
    return Difference("total_variation", effect, _homogeneity(table))


def _counts(series: pl.Series, name: str) -> pl.DataFrame:
    return series.alias("level").value_counts(name=name).with_columns(pl.col(name).cast(pl.Int64))


def _homogeneity(table: npt.NDArray[np.float64]) -> float:
    """Give the p-value of Pearson's chi-squared test that both columns of counts come from one distribution."""
    # Levels with fewer than five expected rows are pooled: the test is not calibrated with them.
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    rare = expected.min(axis=1) < _RARE
    pooled = np.vstack((table[~rare], table[rare].sum(axis=0, keepdims=True))) if rare.any() else table
    if len(pooled) < 2:
        return 1.0
    expected = np.outer(pooled.sum(axis=1), pooled.sum(axis=0)) / pooled.sum()
    return chi_squared_tail(float(((pooled - expected) ** 2 / expected).sum()), len(pooled) - 1)


def chi_squared_tail(x: float, degrees: int) -> float:
    """Give the probability that a chi-squared variable exceeds *x*: the regularised upper incomplete gamma function.

    Series below ``a + 1``, Lentz's continued fraction above (Numerical Recipes, section 6.2).
    """
    a, x = degrees / 2, x / 2
    if x <= 0:
        return 1.0
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        return max(0.0, 1 - front * _lower_series(a, x))
    return min(1.0, front * _upper_fraction(a, x))


def _lower_series(a: float, x: float) -> float:
    term = total = 1 / a
    n = a
    while abs(term) > abs(total) * 1e-15:
        n += 1
        term *= x / n
        total += term
    return total


def _upper_fraction(a: float, x: float) -> float:
    tiny = 1e-300
    b = x + 1 - a
    c, d = 1 / tiny, 1 / b
    value = d
    for i in range(1, 10_000):
        step = -i * (i - a)
        b += 2
        d = 1 / (step * d + b or tiny)
        c = b + step / c or tiny
        value *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return value
