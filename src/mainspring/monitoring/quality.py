"""Has the model become worse? The metric on labelled windows against the metric on the reference, with both errors.

The errors come from influence functions (see registry/intervals.py); the design effect of the reference's influences
corrects them for neighbours that are alike. A window is tested alone, which finds a sudden loss, and pooled with the
three before it, which finds a slow one; each takes half of the window's budget.
"""

from __future__ import annotations

import math

import numpy as np

from mainspring.core.errors import InvalidData
from mainspring.monitoring.dispersion import for_window, of_mean
from mainspring.monitoring.model import Finding, Performance, Quality
from mainspring.monitoring.tails import t_above
from mainspring.registry.intervals import estimate
from mainspring.registry.quality import Array, Scores, measure, metric_named, trivial
from mainspring.registry.signature import Task

POOLED = 4
_LEVEL = 0.95
_SMALLEST_MARGIN = 0.01
_MOST_FREEDOM = 1e6
_RANKED_OR_BY_CLASS = {"roc_auc", "average_precision", "balanced_accuracy", "macro_f1", "f1", "precision", "recall"}
# A few rows tell little of how much they vary: so many more are taken to vary as much as they can.
_PRIOR_ROWS = 1


def quality_of(
    metric: str, task: Task, truth: Array, scores: Scores, *, skill: float = 0.1, ordered: bool = True
) -> Quality:
    """Measure how good a model is on rows that it was not fitted to; *skill* is the part of it whose loss matters.

    Raises InvalidData when the metric is not defined on these rows (an AUC of one class).
    """
    value = measure(metric, truth, scores)
    if not math.isfinite(value):
        raise InvalidData(f"{metric} is not defined on the {len(truth)} reference rows; give rows of each class")
    m = metric_named(metric, task)
    influence = m.influence(truth, scores.label, scores.probabilities)
    classes = 2 if scores.probabilities is None else scores.probabilities.shape[1]
    least = measure(
        metric, truth, trivial(task, truth, max(classes, int(truth.max()) + 1 if task != "regression" else 0))
    )
    least = least if math.isfinite(least) else value
    return Quality(
        metric=metric,
        higher_is_better=m.higher_is_better,
        value=value,
        error=_error(metric, value, truth, influence),
        trivial=least if math.isfinite(least) else value,
        margin=max(skill * abs(value - least) if math.isfinite(least) else 0.0, _SMALLEST_MARGIN * abs(value)),
        rows=len(truth),
        weighty=_weighty(metric, truth),
        dispersion=of_mean(influence) if ordered else [],
    )


def performance_of(quality: Quality, truth: Array, scores: Scores) -> Performance | None:
    """Measure one window of labelled predictions; None when the metric is not defined on it."""
    value = measure(quality.metric, truth, scores)
    if not math.isfinite(value):
        return None
    m = metric_named(quality.metric)
    span = estimate(quality.metric, truth, scores, level=_LEVEL)
    influence = m.influence(truth, scores.label, scores.probabilities)
    return Performance(
        metric=quality.metric,
        value=value,
        low=span.low,
        high=span.high,
        reference=quality.value,
        worse=m.sign * (quality.value - value),
        error=_error(quality.metric, value, truth, influence) * math.sqrt(_burst(quality, influence)),
        rows=len(truth),
        weighty=_weighty(quality.metric, truth),
    )


def findings_of(quality: Quality, windows: list[Performance], share: float) -> list[Finding]:
    """Test the newest of *windows* alone, and pooled with those before it (at most three); *share* is for both."""
    alone = _finding(quality, windows[-1:], share / 2)
    if len(windows) < 2:
        return [alone]
    return [alone, _finding(quality, windows[-POOLED:], share / 2)]


def _finding(quality: Quality, windows: list[Performance], share: float) -> Finding:
    rows = [window.rows for window in windows]
    spread = for_window(quality.dispersion, rows[-1], 1)
    worse = float(np.average([window.worse for window in windows], weights=rows))
    own = float(np.sum([(n * _safe(w, quality)) ** 2 for n, w in zip(rows, windows, strict=True)])) / sum(rows) ** 2
    error = math.sqrt(spread.factor * (own + quality.error**2))
    freedom = min(spread.certainty, _freedom(quality, windows, own), _MOST_FREEDOM)
    statistic = worse / error if error > 0 else math.copysign(math.inf, worse) if worse else 0.0
    name = "t" if len(windows) == 1 else f"t over {len(windows)} windows"
    return Finding(
        column=quality.metric,
        kind="performance",
        test=name,
        statistic=float(min(statistic, 1e9)),
        p=t_above(statistic, freedom) if math.isfinite(statistic) else 0.0,
        share=share,
        effect=max(0.0, worse),
        threshold=quality.margin,
        note=f"{quality.metric} {quality.value:.4g} -> {np.average([w.value for w in windows], weights=rows):.4g}",
    )


def _safe(window: Performance, quality: Quality) -> float:
    # A small window without one mistake shows no spread at all: the reference knows better.
    return max(window.error, quality.error * math.sqrt(quality.rows / window.rows) / 2)


def _burst(quality: Quality, influence: Array) -> float:
    """Give how many times more the parts of a window differ than those of the reference do.

    A bad hour makes one part of a window worse, a change all of it (at the latest of the next).
    """
    if not quality.dispersion:
        return 1.0
    expected = for_window(quality.dispersion, len(influence), 1).factor
    return max([1.0, *(part.factor / expected for part in of_mean(influence))])


def _freedom(quality: Quality, windows: list[Performance], own: float) -> float:
    """Give the degrees of freedom of the difference (Welch, Biometrika 34, 1947), of the windows' variance *own*."""
    rows = sum(window.weighty or window.rows for window in windows)
    parts = ((own, rows), (quality.error**2, quality.weighty or quality.rows))
    borrowed = _PRIOR_ROWS if quality.metric in _RANKED_OR_BY_CLASS else 0
    below = sum(variance**2 / max(1, count - 1 + borrowed) for variance, count in parts)
    return sum(variance for variance, _ in parts) ** 2 / below if below > 0 else _MOST_FREEDOM


def _weighty(metric: str, truth: Array) -> int:
    if metric not in _RANKED_OR_BY_CLASS:
        return len(truth)
    return int(np.unique(truth, return_counts=True)[1].min())


def _error(metric: str, value: float, truth: Array, influence: Array) -> float:
    """Give the standard error of *value*; of a share, not less than one more right and one more wrong row allow.

    Of few rows of a class the influences vary too little, of one not at all. The variance is therefore drawn to the
    greatest that the AUC of so many rows has (Birnbaum & Klose, Annals of Mathematical Statistics 28, 1957).
    """
    variance = float(np.mean(influence.astype(float) ** 2)) / len(influence)
    if metric != "accuracy" and metric not in _RANKED_OR_BY_CLASS:
        return math.sqrt(variance)
    weighty = _weighty(metric, truth)
    share = (weighty * value + 1) / (weighty + 2)
    most = share * (1 - share) / weighty
    if metric == "accuracy":
        return math.sqrt(max(variance, most))
    return math.sqrt(((weighty - 1) * variance + _PRIOR_ROWS * most) / (weighty - 1 + _PRIOR_ROWS))
