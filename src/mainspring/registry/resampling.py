"""Two more ways to an interval of a paired difference: DeLong's for the AUC, and the bootstrap for any metric."""

from __future__ import annotations

import numpy as np

from mainspring.core.errors import InvalidRequest
from mainspring.registry.intervals import Comparison, Span, quantile
from mainspring.registry.quality import Array, Scores, metric_named

_RESAMPLES = 2_000
_SEED = 20_200_229


def compare_by_delong(truth: Array, candidate: Scores, champion: Scores, *, level: float = 0.95) -> Comparison:
    """Compare the AUC of two models of two classes on the same rows.

    DeLong, DeLong & Clarke-Pearson, Comparing the areas under two or more correlated receiver operating characteristic
    curves: a nonparametric approach, Biometrics 44 (1988) 837-845: the covariance of the two areas is S10/m + S01/n,
    with the sample covariances of the placements of the m positive and of the n negative rows. Placements come from
    midranks, as in Sun & Xu, IEEE Signal Processing Letters 21 (2014) 1389-1393. Raises InvalidRequest when a model
    gives no probabilities of two classes, or fewer than two rows are of one class.
    """
    scores = []
    for model in (candidate, champion):
        if model.probabilities is None or model.probabilities.shape[1] != 2:
            raise InvalidRequest("DeLong's interval is one of the AUC of two classes; choose the bootstrap for others")
        scores.append(model.probabilities[:, 1])
    positive = truth == 1
    m, n = int(positive.sum()), int((~positive).sum())
    if m < 2 or n < 2:
        raise InvalidRequest(f"DeLong's interval needs two rows of each class; there are {m} and {n}")
    placed = [_placements(positive, score) for score in scores]
    covariance = np.cov([above for above, _ in placed]) / m + np.cov([below for _, below in placed]) / n
    areas = [float(above.mean()) for above, _ in placed]
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    reach = quantile(level) * float(np.sqrt(max(variance, 0.0)))
    better = areas[0] - areas[1]
    return _comparison("roc_auc", areas, Span(better, better - reach, better + reach), level, len(truth), "delong")


def compare_by_bootstrap(
    metric: str, truth: Array, candidate: Scores, champion: Scores, *, level: float = 0.95, resamples: int = _RESAMPLES
) -> Comparison:
    """Compare two models by any metric on resamples of the rows that both answered.

    The paired percentile bootstrap (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13): rows are drawn
    with replacement, the same for both models, of each class as many as there are. The draws are the same every time.
    """
    m = metric_named(metric)
    random, strata = np.random.default_rng(_SEED), _strata(truth, m.tasks == ("regression",))
    values = [m.function(truth, s.label, s.probabilities) for s in (candidate, champion)]
    differences = []
    for _ in range(resamples):
        rows = np.concatenate([random.choice(stratum, len(stratum)) for stratum in strata])
        two = [_value(metric, truth[rows], s, rows) for s in (candidate, champion)]
        differences.append(m.sign * (two[0] - two[1]))
    found = np.array(differences)
    found = found[np.isfinite(found)]
    better = m.sign * (values[0] - values[1])
    if not len(found):
        return _comparison(metric, values, Span(better, float("nan"), float("nan")), level, len(truth), "bootstrap")
    low, high = (float(np.quantile(found, q)) for q in (0.5 - level / 2, 0.5 + level / 2))
    return _comparison(metric, values, Span(better, low, high), level, len(truth), f"bootstrap of {resamples}")


def _value(metric: str, truth: Array, scores: Scores, rows: Array) -> float:
    probabilities = None if scores.probabilities is None else scores.probabilities[rows]
    return float(metric_named(metric).function(truth, scores.label[rows], probabilities))


def _strata(truth: Array, numbers: bool) -> list[Array]:
    if numbers:
        return [np.arange(len(truth))]
    return [np.flatnonzero(truth == value) for value in np.unique(truth)]


def _placements(positive: Array, score: Array) -> tuple[Array, Array]:
    above, below = score[positive], score[~positive]
    everywhere = _midranks(np.concatenate([above, below]))
    first = (everywhere[: len(above)] - _midranks(above)) / len(below)
    second = 1 - (everywhere[len(above) :] - _midranks(below)) / len(above)
    return first, second


def _midranks(values: Array) -> Array:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[place])


def _comparison(metric: str, values: list[float], span: Span, level: float, rows: int, method: str) -> Comparison:
    def defined(value: float) -> float | None:
        return float(value) if np.isfinite(value) else None

    return Comparison(
        metric=metric,
        candidate=defined(values[0]),
        champion=defined(values[1]),
        improvement=defined(span.value),
        low=defined(span.low),
        high=defined(span.high),
        level=level,
        rows=rows,
        method=method,
    )
