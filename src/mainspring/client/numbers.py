"""The numbers in what is logged: checked, and flat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mainspring.tracking.limits import check_batch
from mainspring.tracking.model import Metric


def points_of(values: Mapping[str, Any], known: set[str]) -> list[tuple[str, float]]:
    """Give each number with its key, those of mappings inside as ``outer/inner``; keys in *known* are right.

    Raises TypeError or ValueError for what is no number, InvalidRequest for a key that cannot be.
    """
    points: list[tuple[str, float]] = []
    for key, value in values.items():
        if (type(value) is float or type(value) is int) and key in known:
            points.append((key, float(value)))
        elif isinstance(value, Mapping):
            inner = {f"{key}/{name}": one for name, one in value.items()}
            points += points_of(inner, known)
        else:
            points.append((key, _number(key, value)))
            if key not in known:
                check_batch([Metric(key, 0.0)], {}, {})
                known.add(key)
    return points


def _number(key: str, value: Any) -> float:
    if isinstance(value, str | bytes):
        raise TypeError(f"{key!r} is the text {value!r}: log numbers here, a text with log_param, set_tag or Text")
    try:
        return float(value.item() if hasattr(value, "item") else value)  # One number of NumPy, Torch, JAX, ...
    except OverflowError:
        raise ValueError(f"{key!r} is too large for a float") from None
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{key!r} is of type {type(value).__name__}: expected a number, or one of the media") from None
