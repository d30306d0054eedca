"""Tail probabilities that stay exact far out (1e-300), where budgets split over many tests look."""

from __future__ import annotations

import math

import numpy as np

_TINY = 1e-300
_CLOSE = 3e-16
_MOST_STEPS = 500


def _beta_fraction(a: float, b: float, x: float) -> float:
    # The continued fraction of the incomplete beta function (DLMF 8.17.22), by Lentz's method.
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > _TINY else _TINY)
    value = d
    for m in range(1, _MOST_STEPS):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 + step * d
            d = 1 / (d if abs(d) > _TINY else _TINY)
            c = 1 + step / c
            c = c if abs(c) > _TINY else _TINY
            value *= d * c
        if abs(d * c - 1) < _CLOSE:
            break
    return value


def beta_below(x: float, a: float, b: float) -> float:
    """Give the regularized incomplete beta function I_x(a, b) (DLMF 8.17)."""
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    front = a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    if x < (a + 1) / (a + b + 2):
        return math.exp(front) * _beta_fraction(a, b, x) / a
    return 1 - math.exp(front) * _beta_fraction(b, a, 1 - x) / b


def f_above(value: float, top: float, bottom: float) -> float:
    """Give the chance that an F variable of *top* and *bottom* degrees of freedom exceeds *value*."""
    if not value > 0:
        return 1.0
    # Degrees beyond this change the tail by less than the continued fraction's own error.
    bottom = min(bottom, 1e6)
    return beta_below(bottom / (bottom + top * value), bottom / 2, top / 2)


def t_above(value: float, freedom: float) -> float:
    """Give the chance that Student's t of *freedom* degrees exceeds *value* (one side)."""
    half = f_above(value * value, 1, freedom) / 2
    return half if value > 0 else 1 - half


def sum_above(value: float, weights: list[float], freedom: float) -> float:
    """Give the chance that a weighted sum of squared normals exceeds *value* times an independent chi-square mean.

    The mean is that of *freedom* squared normals, so that the ratio is F-like, with one weight for each direction. The
    far tail is the saddlepoint approximation of Kuonen (Biometrika 86, 1999), within some per cent of the truth; values
    up to the mean give 1.
    """
    if not value > 1.05 * sum(weights):
        return 1.0
    terms = np.array([*weights, -value / freedom])
    times = np.array([1.0] * len(weights) + [freedom])
    low, high = 0.0, 0.5 / max(weights)
    for _ in range(100):
        t = (low + high) / 2
        low, high = (t, high) if float(np.sum(times * terms / (1 - 2 * t * terms))) < 0 else (low, t)
    shrunk = 1 - 2 * t * terms
    w = math.sqrt(max(1e-12, float(np.sum(times * np.log(shrunk)))))
    v = t * math.sqrt(2 * float(np.sum(times * (terms / shrunk) ** 2)))
    return min(1.0, max(0.0, math.erfc((w + math.log(v / w) / w) / math.sqrt(2)) / 2))


def share_above(count: float, rows: float, before: float, rows_before: float) -> float:
    """Give the chance to see *count* or more of *rows*, when *before* of *rows_before* were seen earlier.

    Both shares are the same unknown one, to which Jeffreys' prior is given: the predictive distribution is a
    beta-binomial (Gelman et al., Bayesian Data Analysis, 3rd ed., 2.4-2.8). Counts may be fractions, as they are after
    they were divided by a design effect; the tail is then that of the next lower whole count.
    """
    n, k = max(1, round(rows)), math.floor(count + 1e-9)
    if k <= 0:
        return 1.0
    a, b = before + 0.5, rows_before - before + 0.5
    if k > n:
        return 0.0
    return min(1.0, _beta_binomial_above(k, n, a, max(b, 0.5)))


def _beta_binomial_above(k: int, n: int, a: float, b: float) -> float:
    def mass(i: int) -> float:
        choose = math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1)
        return math.exp(choose + _log_beta(i + a, n - i + b) - _log_beta(a, b))

    if k <= (n + 1) * a / (a + b):
        # Above the middle it is the lower tail that is the short sum.
        return max(0.0, 1 - _sum_down(mass(k - 1), k - 1, n, a, b))
    return _sum_up(mass(k), k, n, a, b)


def _sum_up(term: float, i: int, n: int, a: float, b: float) -> float:
    total = term
    while i < n and term > total * 1e-17:
        term *= (n - i) / (i + 1) * (i + a) / (n - i - 1 + b)
        total, i = total + term, i + 1
    return total


def _sum_down(term: float, i: int, n: int, a: float, b: float) -> float:
    total = term
    while i > 0 and term > total * 1e-17:
        term *= i / (n - i + 1) * (n - i + b) / (i - 1 + a)
        total, i = total + term, i - 1
    return total


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
