"""What is in one call of `RunLogger.log`: numbers, and things to look at; checked, and flat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mainspring.client.media.values import Encoded, Medium
from mainspring.tracking.limits import check_batch
from mainspring.tracking.model import Metric

Points = list[tuple[str, float]]
Media = list[tuple[str, int, Encoded]]


def read(values: Mapping[str, Any], known: set[str]) -> tuple[Points, Media]:
    """Give the numbers and the media with their keys, those of mappings inside as ``outer/inner``.

    Keys in *known* are right. Raises TypeError or ValueError for what is neither, InvalidRequest for a key or a medium
    that cannot be.
    """
    points: Points = []
    media: Media = []
    for key, value in values.items():
        if (type(value) is float or type(value) is int) and key in known:
            points.append((key, float(value)))
            continue
        if isinstance(value, Mapping):
            inner = read({f"{key}/{name}": one for name, one in value.items()}, known)
            points += inner[0]
            media += inner[1]
            continue
        if key not in known:
            check_batch([Metric(key, 0.0)], {}, {})
            known.add(key)
        if isinstance(value, Medium):
            media.append((key, 0, value.encode()))
        elif isinstance(value, list | tuple) and value and all(isinstance(one, Medium) for one in value):
            media += [(key, number, one.encode()) for number, one in enumerate(value)]
        else:
            points.append((key, _number(key, value)))
    return points, media


def _number(key: str, value: Any) -> float:
    if isinstance(value, str | bytes):
        raise TypeError(f"{key!r} is the text {value!r}: log numbers here, a text with log_param, set_tag or Text")
    try:
        return float(value.item() if hasattr(value, "item") else value)  # One number of NumPy, Torch, JAX, ...
    except OverflowError:
        raise ValueError(f"{key!r} is too large for a float") from None
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{key!r} is of type {type(value).__name__}: expected a number, or one of the media") from None
