"""Confidence intervals: of a metric, of a paired difference of two models, of a share and of shares of two groups.

A metric's interval comes from influence functions: how the metric changes when one row weighs a little more. Their mean
square over the rows estimates its variance (Hampel 1974; the infinitesimal jackknife in Efron & Tibshirani, An
Introduction to the Bootstrap, 1993, ch. 21; for the AUC it is DeLong, DeLong & Clarke-Pearson 1988). It costs one
pass, O(n log n). Where few rows carry the variance (a rare class, heavy tails) the interval is as wide as Student's t
makes it. A share or a difference of shares has its own formula. All levels are two-sided.
"""

from __future__ import annotations

from statistics import NormalDist

import msgspec
import numpy as np

from mainspring.core.errors import InvalidRequest
from mainspring.registry.quality import Array, Metric, Scores, metric_named

_RANKINGS = ("roc_auc", "average_precision")
_normal = NormalDist()


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A metric on *rows* rows with its confidence interval; None where the metric is not defined on these rows.

    *method* names how the interval was made.
    """

    metric: str
    value: float | None
    low: float | None
    high: float | None
    level: float
    rows: int
    method: str


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate against a champion on the same rows.

    ``improvement`` is positive when the candidate is better, whichever way the metric points; ``low`` and ``high``
    bound it. ``candidate`` and ``champion`` are the metric itself. None where it is not defined on these rows.
    """

    metric: str
    candidate: float | None
    champion: float | None
    improvement: float | None
    low: float | None
    high: float | None
    level: float
    rows: int
    method: str


class Span(msgspec.Struct, frozen=True):
    """A number with its bounds; NaN where there are none."""

    value: float
    low: float
    high: float


def estimate(metric: str, truth: Array, scores: Scores, *, level: float = 0.95) -> Estimate:
    """Give a metric with its confidence interval.

    Raises InvalidRequest when there is no such metric or no row.
    """
    _check(truth, level)
    m = metric_named(metric)
    value = m.function(truth, scores.label, scores.probabilities)
    if metric == "accuracy":
        span, method = wilson(int((truth == scores.label).sum()), len(truth), level), "wilson"
    else:
        span, method = _within(m, _span(value, _influence(m, truth, scores), level, _most(metric, truth))), "influence"
    return Estimate(
        metric=metric,
        value=_defined(value),
        low=_defined(span.low),
        high=_defined(span.high),
        level=level,
        rows=len(truth),
        method=method,
    )


def compare(metric: str, truth: Array, candidate: Scores, champion: Scores, *, level: float = 0.95) -> Comparison:
    """Give how much the candidate improves a metric over the champion on the same rows, with a paired interval.

    Raises InvalidRequest when there is no such metric or no row.
    """
    _check(truth, level)
    m = metric_named(metric)
    values = [m.function(truth, s.label, s.probabilities) for s in (candidate, champion)]
    improvement = m.sign * (values[0] - values[1])
    if metric == "accuracy":
        span, method = _paired_shares(truth == candidate.label, truth == champion.label, level), "bonett-price"
    else:
        influence = m.sign * (_influence(m, truth, candidate) - _influence(m, truth, champion))
        span, method = _span(improvement, influence, level, _most(metric, truth)), "paired influence"
    return Comparison(
        metric=metric,
        candidate=_defined(values[0]),
        champion=_defined(values[1]),
        improvement=_defined(improvement),
        low=_defined(span.low),
        high=_defined(span.high),
        level=level,
        rows=len(truth),
        method=method,
    )


def quantile(level: float) -> float:
    """Give how many standard errors a two-sided interval of *level* reaches to each side (1.96 for 0.95)."""
    return _normal.inv_cdf(0.5 + level / 2)


def wilson(successes: int, trials: int, level: float = 0.95) -> Span:
    """Give a share with Wilson's score interval (1927); the whole of [0, 1] when nothing was tried."""
    if trials == 0:
        return Span(float("nan"), 0.0, 1.0)
    z, share = quantile(level), successes / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return Span(share, float(max(0.0, middle - half)), float(min(1.0, middle + half)))


def share_difference(first: tuple[int, int], second: tuple[int, int], level: float = 0.95) -> Span:
    """Give the difference of two groups' shares, each (successes, trials), by Newcombe's method 10 (1998)."""
    a, b = wilson(*first, level), wilson(*second, level)
    difference = a.value - b.value
    low = difference - np.hypot(a.value - a.low, b.high - b.value)
    high = difference + np.hypot(a.high - a.value, b.value - b.low)
    return Span(difference, float(low), float(high))


def share_ratio(first: tuple[int, int], second: tuple[int, int], level: float = 0.95) -> Span:
    """Give the ratio of two groups' shares, each (successes, trials), on the log scale (Katz 1978).

    Half a success is added to each side (and half a failure) when either has none, so that the ratio stays finite.
    """
    correction = 0.5 if first[0] == 0 or second[0] == 0 else 0.0
    (a, n), (b, m) = first, second
    share = [(a + correction) / (n + 2 * correction), (b + correction) / (m + 2 * correction)]
    error = np.sqrt(1 / (a + correction) - 1 / (n + 2 * correction) + 1 / (b + correction) - 1 / (m + 2 * correction))
    ratio, reach = share[0] / share[1], quantile(level) * error
    return Span(float(ratio), float(ratio * np.exp(-reach)), float(ratio * np.exp(reach)))


def mean_span(values: Array, level: float = 0.95) -> Span:
    """Give the mean of numbers with its interval; NaN bounds below two rows."""
    if len(values) < 2:
        return Span(float(np.mean(values)) if len(values) else float("nan"), float("nan"), float("nan"))
    return _span(float(np.mean(values)), np.asarray(values - np.mean(values)), level)


def _influence(metric: Metric, truth: Array, scores: Scores) -> Array:
    return metric.influence(truth, scores.label, scores.probabilities)


def _span(value: float, influence: Array, level: float, most: int | None = None) -> Span:
    square = float(np.mean(influence**2))
    reach = _student(level, _freedom(influence, square, len(influence) - 1 if most is None else most)) * float(
        np.sqrt(square / len(influence))
    )
    return Span(value, value - reach, value + reach)


def _most(metric: str, truth: Array) -> int:
    """Give how many rows beyond one an estimated variance can rest on: a ranking of two classes on the rarer one."""
    counts = np.unique(truth, return_counts=True)[1] if metric in _RANKINGS else np.array([])
    return int(counts.min() if len(counts) == 2 else len(truth)) - 1


def _freedom(influence: Array, square: float, most: int) -> int:
    """Give how many independent rows the estimated variance is worth, by its own variance (Satterthwaite 1946)."""
    varied = float(np.mean(influence**4)) - square**2
    worth = int(2 * len(influence) * square**2 / varied) if varied > 0 else most
    return max(1, min(most, worth))


def _student(level: float, freedom: int) -> float:
    """Give the quantile of Student's t as `quantile` gives the normal one, within 1 % of it for levels to 0.99."""
    tail = 0.5 + level / 2
    if freedom == 1:
        return float(np.tan(np.pi * (tail - 0.5)))
    if freedom == 2:
        return float((2 * tail - 1) / np.sqrt(2 * tail * (1 - tail)))
    z = quantile(level)
    # The expansion of Fisher & Cornish 1960 in powers of 1/freedom.
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return float(z + sum(term / freedom**power for power, term in enumerate(terms, 1)))


def _within(metric: Metric, span: Span) -> Span:
    """Cut an interval to the values that the metric can take."""
    lowest = -np.inf if metric.name == "r2" else 0.0
    highest = 1.0 if metric.higher_is_better or metric.name == "brier" else np.inf
    return Span(span.value, float(np.maximum(span.low, lowest)), float(np.minimum(span.high, highest)))


def _paired_shares(candidate: Array, champion: Array, level: float) -> Span:
    # Bonett & Price 2012: one row is added to each kind of disagreement, which keeps the level when few rows disagree.
    gained, lost, n = int((candidate & ~champion).sum()), int((champion & ~candidate).sum()), len(candidate)
    if gained == lost == 0:
        return Span(0.0, 0.0, 0.0)
    up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    reach = quantile(level) * np.sqrt((up + down - (up - down) ** 2) / (n + 2))
    return Span((gained - lost) / n, float(max(-1.0, up - down - reach)), float(min(1.0, up - down + reach)))


def _defined(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _check(truth: Array, level: float) -> None:
    if len(truth) == 0:
        raise InvalidRequest("there is no row to measure on; give at least one labelled row")
    if not 0.5 <= level < 1:
        raise InvalidRequest(f"a confidence level of {level} makes no sense; give one from 0.5 to below 1")
