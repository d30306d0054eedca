"""How good predictions are: metrics by task, the influence of each row on them, and losses per row.

Labels of a classifier are codes: the place of the class in the model's list of classes (``codes`` makes them; -1 is a
value that is no class and counts as wrong). Probabilities are [rows, classes]; of two classes the second is positive.
A metric that is not defined on the rows at hand (an AUC of one class) is NaN. Intervals of these: ``intervals.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainspring.core.errors import InvalidRequest
from mainspring.registry.signature import Task

Array = NDArray[Any]
Function = Callable[[Array, Array, Array | None], float]
Influence = Callable[[Array, Array, Array | None], Array]

_EPSILON = 1e-7


class Scores(msgspec.Struct, frozen=True):
    """What a model answered: label codes and probabilities of a classifier, or the numbers of a regression."""

    label: Array
    probabilities: Array | None = None


class Metric(msgspec.Struct, frozen=True):
    """A measure of quality: its function of (truth, label, probabilities), and the influence of each row on it."""

    name: str
    higher_is_better: bool
    tasks: tuple[Task, ...]
    function: Function
    influence: Influence
    needs_probabilities: bool = False

    @property
    def sign(self) -> int:
        """Give +1 when more is better, else -1."""
        return 1 if self.higher_is_better else -1


# Metrics of classes ---------------------------------------------------------------------------------------------------


def accuracy(truth: Array, label: Array, probabilities: Array | None = None) -> float:
    """Give the share of rows whose label is right."""
    return float(np.mean(truth == label)) if len(truth) else float("nan")


def _accuracy_influence(truth: Array, label: Array, probabilities: Array | None) -> Array:
    return _centred(truth == label)


def balanced_accuracy(truth: Array, label: Array, probabilities: Array | None = None) -> float:
    """Give the mean, over the classes present, of the share of the class that is found."""
    recalls = [np.mean(label[truth == c] == c) for c in np.unique(truth)]
    return float(np.mean(recalls)) if recalls else float("nan")


def _balanced_accuracy_influence(truth: Array, label: Array, probabilities: Array | None) -> Array:
    present = np.unique(truth)
    influence = np.zeros(len(truth))
    for c in present:
        rows = truth == c
        hit = (label[rows] == c).astype(float)
        influence[rows] = (hit - hit.mean()) * len(truth) / (rows.sum() * len(present))
    return influence


def _f1_terms(truth: Array, label: Array, c: int) -> tuple[Array, Array]:
    # F1 = 2 TP / (2 TP + FP + FN), and 2 TP + FP + FN = rows called c + rows that are c.
    called, real = label == c, truth == c
    return 2.0 * (called & real), called.astype(float) + real


def _ratio(top: Array, bottom: Array) -> float:
    return float(top.sum() / bottom.sum()) if bottom.sum() else 0.0


def _ratio_influence(top: Array, bottom: Array) -> Array:
    if not bottom.sum():
        return np.zeros(len(top))
    return np.asarray((top - _ratio(top, bottom) * bottom) / bottom.mean())


def f1(truth: Array, label: Array, probabilities: Array | None = None) -> float:
    """Give the harmonic mean of precision and recall of the positive class; 0 when it is neither called nor true."""
    return _ratio(*_f1_terms(truth, label, 1))


def _f1_influence(truth: Array, label: Array, probabilities: Array | None) -> Array:
    return _ratio_influence(*_f1_terms(truth, label, 1))


def macro_f1(truth: Array, label: Array, probabilities: Array | None = None) -> float:
    """Give the mean of F1 over the classes that are true or called."""
    classes = _classes(truth, label)
    return float(np.mean([_ratio(*_f1_terms(truth, label, c)) for c in classes])) if classes else float("nan")


def _macro_f1_influence(truth: Array, label: Array, probabilities: Array | None) -> Array:
    parts = [_ratio_influence(*_f1_terms(truth, label, c)) for c in _classes(truth, label)]
    return np.asarray(np.mean(parts, axis=0))


def precision(truth: Array, label: Array, probabilities: Array | None = None) -> float:
    """Give the share of the rows called positive that are; 0 when none is called."""
    return _ratio((label == 1) & (truth == 1), label == 1)


def _precision_influence(truth: Array, label: Array, probabilities: Array | None) -> Array:
    called = (label == 1).astype(float)
    return _ratio_influence(called * (truth == 1), called)


def recall(truth: Array, label: Array, probabilities: Array | None = None) -> float:
    """Give the share of the positive rows that are called so; 0 when there are none."""
    return _ratio((label == 1) & (truth == 1), truth == 1)


def _recall_influence(truth: Array, label: Array, probabilities: Array | None) -> Array:
    real = (truth == 1).astype(float)
    return _ratio_influence(real * (label == 1), real)


# Metrics of probabilities ---------------------------------------------------------------------------------------------


def roc_auc(truth: Array, label: Array, probabilities: Array | None) -> float:
    """Give the chance that a positive row scores above a negative one, ties half; the mean over classes of several."""
    parts = _auc_parts(truth, _given(probabilities))
    return float(np.mean([value for value, _ in parts])) if parts else float("nan")


def _roc_auc_influence(truth: Array, label: Array, probabilities: Array | None) -> Array:
    parts = _auc_parts(truth, _given(probabilities))
    return np.asarray(np.mean([influence for _, influence in parts], axis=0)) if parts else np.full(len(truth), np.nan)


def _auc_parts(truth: Array, probabilities: Array) -> list[tuple[float, Array]]:
    columns = [1] if probabilities.shape[1] == 2 else list(range(probabilities.shape[1]))
    parts = []
    for c in columns:
        positive = truth == c
        if positive.any() and not positive.all():
            parts.append(_auc(positive, probabilities[:, c]))
    return parts


def _auc(positive: Array, score: Array) -> tuple[float, Array]:
    # Placement values by midranks: Sun & Xu, Fast implementation of DeLong's algorithm, IEEE SPL 2014.
    above, below = int(positive.sum()), int((~positive).sum())
    rank = _midranks(score)
    placement = np.empty(len(score))
    placement[positive] = (rank[positive] - _midranks(score[positive])) / below
    placement[~positive] = 1 - (rank[~positive] - _midranks(score[~positive])) / above
    value = float(placement[positive].mean())
    share = np.where(positive, above, below) / len(score)
    return value, (placement - value) / share


def _midranks(values: Array) -> Array:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[inverse])


def average_precision(truth: Array, label: Array, probabilities: Array | None) -> float:
    """Give the mean, over the positive rows, of the precision among rows that score at least as high."""
    positive, _, precision_at, _ = _ranked(truth, _given(probabilities))
    return float(precision_at[positive].mean()) if positive.any() else float("nan")


def _average_precision_influence(truth: Array, label: Array, probabilities: Array | None) -> Array:
    positive, inverse, precision_at, covered = _ranked(truth, _given(probabilities))
    if not positive.any():
        return np.full(len(truth), np.nan)
    share = positive.mean()
    value = precision_at[positive].mean()
    # A row k joins the set above the threshold of every positive row that scores no higher than it does.
    size = inverse.max() + 1
    weight = np.bincount(inverse[positive], minlength=size) / len(truth)
    cover, at = np.ones(size), np.zeros(size)
    cover[inverse], at[inverse] = covered, precision_at
    inclusive = np.cumsum(weight / cover)[inverse]
    expected = np.cumsum(weight * at / cover)[inverse]
    return np.asarray((positive * (precision_at - value) + positive * inclusive - expected) / share)


def _ranked(truth: Array, probabilities: Array) -> tuple[Array, Array, Array, Array]:
    positive = truth == 1
    _, inverse = np.unique(probabilities[:, 1], return_inverse=True)
    at_least = np.cumsum(np.bincount(inverse)[::-1])[::-1]
    hits = np.cumsum(np.bincount(inverse, weights=positive)[::-1])[::-1]
    return positive, inverse, (hits / at_least)[inverse], (at_least / len(truth))[inverse]


def log_loss(truth: Array, label: Array, probabilities: Array | None) -> float:
    """Give the mean of minus the logarithm of the probability given to the true class (not below 1e-7)."""
    return float(np.mean(_surprise(truth, _given(probabilities))))


def _log_loss_influence(truth: Array, label: Array, probabilities: Array | None) -> Array:
    return _centred(_surprise(truth, _given(probabilities)))


def _surprise(truth: Array, probabilities: Array) -> Array:
    given = probabilities[np.arange(len(truth)), np.maximum(truth, 0)].astype(float)
    return np.asarray(-np.log(np.clip(np.where(truth < 0, 0.0, given), _EPSILON, 1.0)))


def brier(truth: Array, label: Array, probabilities: Array | None) -> float:
    """Give the mean squared distance between the probabilities and the truth, halved: in [0, 1] (Brier 1950)."""
    return float(np.mean(_brier_rows(truth, _given(probabilities))))


def _brier_influence(truth: Array, label: Array, probabilities: Array | None) -> Array:
    return _centred(_brier_rows(truth, _given(probabilities)))


def _brier_rows(truth: Array, probabilities: Array) -> Array:
    given = probabilities.astype(float)
    squares = (given**2).sum(axis=1)
    hit = np.where(truth < 0, 0.0, given[np.arange(len(truth)), np.maximum(truth, 0)])
    return np.asarray((squares - 2 * hit + 1) / 2)


# Metrics of numbers ---------------------------------------------------------------------------------------------------


def rmse(truth: Array, label: Array, probabilities: Array | None = None) -> float:
    """Give the root of the mean squared error, in the unit of the target."""
    return float(np.sqrt(np.mean(_squares(truth, label))))


def _rmse_influence(truth: Array, label: Array, probabilities: Array | None) -> Array:
    value = rmse(truth, label)
    return np.asarray(_centred(_squares(truth, label)) / (2 * value)) if value else np.zeros(len(truth))


def mae(truth: Array, label: Array, probabilities: Array | None = None) -> float:
    """Give the mean absolute error, in the unit of the target."""
    return float(np.mean(np.abs(_error(truth, label))))


def _mae_influence(truth: Array, label: Array, probabilities: Array | None) -> Array:
    return _centred(np.abs(_error(truth, label)))


def r2(truth: Array, label: Array, probabilities: Array | None = None) -> float:
    """Give the share of the target's variance that is explained; NaN when the target is constant."""
    spread = float(np.var(truth.astype(float)))
    return 1 - float(np.mean(_squares(truth, label))) / spread if spread else float("nan")


def _r2_influence(truth: Array, label: Array, probabilities: Array | None) -> Array:
    error, deviation = _squares(truth, label), (truth.astype(float) - truth.mean()) ** 2
    return -_ratio_influence(error, deviation)


def _error(truth: Array, label: Array) -> Array:
    return np.asarray(np.asarray(label, dtype=float).reshape(-1) - np.asarray(truth, dtype=float))


def _squares(truth: Array, label: Array) -> Array:
    return np.asarray(_error(truth, label) ** 2)


def _centred(values: Array) -> Array:
    numbers = values.astype(float)
    return np.asarray(numbers - numbers.mean())


def _classes(truth: Array, label: Array) -> list[int]:
    return [int(c) for c in np.union1d(truth, label) if c >= 0]


def _given(probabilities: Array | None) -> Array:
    if probabilities is None:
        raise InvalidRequest("this metric needs probabilities, and the model gives only labels; choose accuracy or f1")
    return probabilities


_BINARY: tuple[Task, ...] = ("binary",)
_CLASSES: tuple[Task, ...] = ("binary", "multiclass")
_NUMBERS: tuple[Task, ...] = ("regression",)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", True, _CLASSES, accuracy, _accuracy_influence),
        Metric("balanced_accuracy", True, _CLASSES, balanced_accuracy, _balanced_accuracy_influence),
        Metric("f1", True, _BINARY, f1, _f1_influence),
        Metric("macro_f1", True, _CLASSES, macro_f1, _macro_f1_influence),
        Metric("precision", True, _BINARY, precision, _precision_influence),
        Metric("recall", True, _BINARY, recall, _recall_influence),
        Metric("roc_auc", True, _CLASSES, roc_auc, _roc_auc_influence, True),
        Metric("average_precision", True, _BINARY, average_precision, _average_precision_influence, True),
        Metric("log_loss", False, _CLASSES, log_loss, _log_loss_influence, True),
        Metric("brier", False, _CLASSES, brier, _brier_influence, True),
        Metric("rmse", False, _NUMBERS, rmse, _rmse_influence),
        Metric("mae", False, _NUMBERS, mae, _mae_influence),
        Metric("r2", True, _NUMBERS, r2, _r2_influence),
    )
}


def metric_named(name: str, task: Task | None = None) -> Metric:
    """Give a metric by name; raises InvalidRequest when there is none, or it does not measure *task*."""
    fitting = [m.name for m in METRICS.values() if task is None or task in m.tasks]
    if name not in fitting:
        what = "metric" if task is None else f"metric of a {task} task"
        raise InvalidRequest(f"{name!r} is no {what}; expected one of {', '.join(fitting)}", metric=name)
    return METRICS[name]


def default_metric(task: Task, minority_share: float = 0.5) -> str:
    """Choose the metric when nobody did: rmse of numbers, accuracy of classes, roc_auc when one of two is rare."""
    if task == "regression":
        return "rmse"
    return "roc_auc" if task == "binary" and minority_share < 0.2 else "accuracy"


def codes(values: Iterable[Any], classes: Sequence[str | int]) -> Array:
    """Give the place of each value in *classes*, -1 where it is none; 1, 1.0, True and "1" are the same class."""
    places = {_canonical(value): place for place, value in enumerate(classes)}
    return np.array([places.get(_canonical(value), -1) for value in values], dtype=np.int64)


def _canonical(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return {"true": "1", "false": "0"}.get(str(value).lower(), str(value)) if isinstance(value, str) else str(value)


def trivial(task: Task, truth: Array, classes: int) -> Scores:
    """Give the best answer that looks at no column: the most frequent class with the shares, or the mean."""
    if task == "regression":
        return Scores(np.full(len(truth), truth.astype(float).mean()))
    shares = np.bincount(truth[truth >= 0], minlength=classes) / max(1, int((truth >= 0).sum()))
    return Scores(np.full(len(truth), int(shares.argmax())), np.tile(shares, (len(truth), 1)))


def losses(metric: str, truth: Array, scores: Scores) -> Array:
    """Give one loss per row, lower is better, whose mean is (or stands for) the metric.

    accuracy, f1 and their like: 0 or 1; roc_auc, average_precision and brier: Brier's; log_loss, mae: their own;
    rmse and r2: the squared error.
    """
    if metric == "mae":
        return np.asarray(np.abs(_error(truth, scores.label)))
    if metric in ("rmse", "r2"):
        return _squares(truth, scores.label)
    if metric == "log_loss":
        return _surprise(truth, _given(scores.probabilities))
    if metric in ("brier", "roc_auc", "average_precision"):
        return _brier_rows(truth, _given(scores.probabilities))
    return np.asarray(truth != scores.label, dtype=float)


def measure(metric: str, truth: Array, scores: Scores) -> float:
    """Give the value of a metric by name; raises InvalidRequest when there is none of the name."""
    return metric_named(metric).function(truth, scores.label, scores.probabilities)
