"""What a model answered, in the form that metrics and distributions take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import polars as pl

from mainspring.core.errors import InvalidData
from mainspring.registry.quality import Array, Scores, codes
from mainspring.registry.signature import Task

PREDICTION = "prediction"
_decode = msgspec.json.Decoder().decode


def scores_of(outputs: Mapping[str, Any], task: Task, classes: Sequence[str | int] | None) -> Scores:
    """Give the outputs of a session or of logged rows as scores; InvalidData when a classifier has no classes."""
    if task == "regression":
        return Scores(np.asarray(next(iter(outputs.values())), dtype=float).reshape(-1))
    if not classes:
        raise InvalidData("a classifier without a list of classes cannot be scored; register it with its classes")
    chances = next((wide for wide in map(_matrix, outputs.values()) if wide is not None), None)
    if chances is not None and chances.shape[1] != len(classes):
        chances = None
    labels = next((values for values in outputs.values() if _matrix(values) is None), None)
    if labels is not None:
        return Scores(codes(list(labels), classes), chances)
    if chances is None:
        raise InvalidData(f"the answers hold neither labels nor probabilities of {len(classes)} classes")
    return Scores(chances.argmax(axis=1), chances)


def logged_outputs(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Turn the JSON outputs of logged rows into columns."""
    rows = [_decode(text) for text in texts]
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else {})}


def truth_of(values: Sequence[Any], task: Task, classes: Sequence[str | int] | None) -> Array:
    """Give labels as the numbers or codes that metrics take; raises InvalidData for a label that is no number."""
    if task != "regression":
        return codes(values, classes or [])
    try:
        return np.asarray([float(value) for value in values])
    except (TypeError, ValueError) as error:
        raise InvalidData(f"a label of a regression is no number: {error}; correct it and send it again") from None


def logged_truth(texts: Sequence[str], task: Task, classes: Sequence[str | int] | None) -> Array:
    """Give the JSON labels of logged rows as codes, or as numbers: NaN for what is none."""
    values = [_decode(text) for text in texts]
    if task != "regression":
        return codes(values, classes or [])
    return np.array(pl.Series([str(value) for value in values]).cast(pl.Float64, strict=False).fill_null(math.nan))


def prediction_column(scores: Scores, task: Task, classes: Sequence[str | int] | None) -> pl.Series:
    """Give what is watched of the answers: the number, the chance of the second of two classes, or the class."""
    if task == "regression":
        return pl.Series(PREDICTION, scores.label, dtype=pl.Float64)
    if scores.probabilities is not None and scores.probabilities.shape[1] == 2:
        return pl.Series(PREDICTION, scores.probabilities[:, 1], dtype=pl.Float64)
    names = [str(name) for name in classes or []]
    return pl.Series(PREDICTION, [names[code] if code >= 0 else None for code in scores.label], dtype=pl.String)


def _matrix(values: Any) -> Array | None:
    if isinstance(values, list) and (not values or not isinstance(values[0], list)):
        return None
    found = np.asarray(values)
    return found.astype(float) if found.ndim == 2 and found.shape[1] > 1 else None
