"""What a model answered, as scores: whichever names and forms its outputs have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from mainspring.core.errors import InvalidData
from mainspring.registry.quality import Array, Scores, codes
from mainspring.registry.signature import ModelInfo

_PROBABILITIES = ("probabilities", "output_probability", "probability", "scores")
_LABELS = ("label", "output_label", "class", "prediction")
_NUMBERS = ("prediction", "variable", "output", "output_label")


def truth_of(info: ModelInfo, values: Iterable[Any]) -> Array:
    """Give labels as codes of the model's classes (-1 for none of them), or as numbers.

    Raises InvalidData when a number is expected and something else came.
    """
    if info.task != "regression":
        return codes(values, _classes(info))
    try:
        return np.array([float(value) for value in values])
    except (TypeError, ValueError) as error:
        raise InvalidData(f"a label of a regression must be a number: {error}") from None


def scores_of(info: ModelInfo, outputs: Mapping[str, Any]) -> Scores:
    """Give the scores in a model's outputs; raises InvalidData when there is no output that could be them."""
    arrays = {name: np.asarray(values) for name, values in outputs.items()}
    if info.task == "regression":
        numbers = _named(arrays, _NUMBERS) if len(arrays) > 1 else next(iter(arrays.values()))
        return Scores(_numeric(numbers))
    classes = _classes(info)
    probabilities = _named(arrays, _PROBABILITIES, missing=None)
    if probabilities is None:
        probabilities = next((a for a in arrays.values() if a.dtype.kind == "f" and a.ndim == 2), None)
    if probabilities is not None:
        probabilities = _table(probabilities, len(classes))
    label = _named(arrays, _LABELS, missing=None)
    if label is not None:
        return Scores(codes(label.reshape(-1).tolist(), classes), probabilities)
    if probabilities is None:
        raise InvalidData(f"none of the outputs {', '.join(outputs)} is a label or probabilities")
    return Scores(probabilities.argmax(axis=1), probabilities)


def in_classes_of(target: ModelInfo, source: ModelInfo, scores: Scores) -> Scores:
    """Give the scores of one model in the classes of another; a class that the other does not have becomes -1."""
    if target.classes is None or source.classes is None or target.classes == source.classes:
        return scores
    places = codes(source.classes, target.classes)
    label = np.where(scores.label < 0, -1, places[np.maximum(scores.label, 0)])
    if scores.probabilities is None:
        return Scores(label)
    probabilities = np.zeros((len(label), len(target.classes)))
    probabilities[:, places[places >= 0]] = scores.probabilities[:, places >= 0]
    return Scores(label, probabilities)


def _classes(info: ModelInfo) -> list[str | int]:
    if info.classes is None:
        raise InvalidData("the classes of the model are not known; give them when it is registered")
    return info.classes


def _named(arrays: Mapping[str, Array], names: tuple[str, ...], missing: Any = ...) -> Any:
    for name in names:
        if name in arrays:
            return arrays[name]
    if missing is ...:
        raise InvalidData(f"none of the outputs {', '.join(arrays)} is called {' or '.join(names)}")
    return missing


def _numeric(values: Array) -> Array:
    try:
        return values.reshape(-1).astype(float)
    except ValueError as error:
        raise InvalidData(f"the model answered no numbers: {error}") from None


def _table(probabilities: Array, classes: int) -> Array:
    table = probabilities.reshape(len(probabilities), -1).astype(float)
    if table.shape[1] == 1 and classes == 2:
        table = np.column_stack([1 - table[:, 0], table[:, 0]])
    if table.shape[1] != classes:
        raise InvalidData(f"the model gives {table.shape[1]} probabilities per row for {classes} classes")
    return table
