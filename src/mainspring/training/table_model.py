"""A trained model that could not become one graph: it is pickled, and takes the same table columns.

The preparation is the ONNX graph that the estimator learned from; only the estimator itself is scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mainspring.registry.quality import Array
from mainspring.registry.signature import NULL_LONG, Kind
from mainspring.training.candidates import Fitted, score
from mainspring.training.columns import Column
from mainspring.training.graph import open_graph, run_graph


class TableRegressor:
    """Predicts a number for each row of a data frame, or of a mapping of columns."""

    def __init__(self, preparation: bytes, columns: Sequence[Column], fitted: Fitted) -> None:
        self.preparation, self.columns, self.fitted = preparation, list(columns), fitted
        self._session: Any = None

    def predict(self, table: Any) -> Array:
        """Give one number per row."""
        return score(self.fitted, self._features(table)).label

    def _features(self, table: Any) -> Array:
        if self._session is None:
            self._session = open_graph(self.preparation)
        columns = {column.name: _array(table[column.name], column.kind) for column in self.columns}
        return run_graph(self._session, columns)[0]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_session": None}


class TableClassifier(TableRegressor):
    """Predicts a class for each row of a data frame, or of a mapping of columns."""

    def __init__(
        self, preparation: bytes, columns: Sequence[Column], fitted: Fitted, classes: Sequence[str | int]
    ) -> None:
        super().__init__(preparation, columns, fitted)
        self.classes_ = np.array(classes, dtype=object if isinstance(classes[0], str) else np.int64)

    def predict(self, table: Any) -> Array:
        """Give one class per row."""
        return np.asarray(self.classes_[super().predict(table)])

    def predict_proba(self, table: Any) -> Array:
        """Give the probability of each class, in the order of ``classes_``."""
        probabilities = score(self.fitted, self._features(table)).probabilities
        assert probabilities is not None
        return probabilities


def _array(values: Any, kind: Kind) -> Array:
    given = list(values)
    if kind == "categorical":
        return np.array(["" if _missing(value) else str(value) for value in given], dtype=object)
    if kind == "datetime":
        return np.array([_milliseconds(value) for value in given], dtype=np.int64)
    with np.errstate(over="ignore"):
        return np.array([np.nan if _missing(value) else float(value) for value in given]).astype(np.float32)


def _missing(value: Any) -> bool:
    # Only a value that is missing differs from itself: NaN, NaT, and pandas' NA by having no truth.
    try:
        return value is None or bool(value != value)
    except TypeError:
        return True


def _milliseconds(value: Any) -> int:
    if _missing(value):
        return NULL_LONG
    if isinstance(value, int | float | np.number):
        return int(value)
    return int(np.array(value, dtype="datetime64[ms]").astype(np.int64))
