"""A span as the JSON text in which it is stored: it comes back equal, also where JSON has no word for a value.

JSON knows neither bytes nor NaN and the infinities: they stand as ``{"$bytes": base64}`` and ``{"$float": "nan"}``, and
a mapping with just such a key of its own as ``{"$map": {...}}``.
"""

from __future__ import annotations

import base64
import math
from typing import Any

import msgspec

from mainspring.core.errors import InvalidData
from mainspring.traces.model import Span

MAX_DEPTH = 64
_MARKS = ("$bytes", "$float", "$map")
_decoder = msgspec.json.Decoder(Span)


def encode(span: Span) -> str:
    """Give the text of a span; raises InvalidData for attributes that nest too deep."""
    return msgspec.json.encode(_mapped(span, _written)).decode()


def decode(text: str) -> Span:
    """Give the span of a text."""
    span = _decoder.decode(text)
    return _mapped(span, _read) if any(f'{{"{mark}"' in text for mark in _MARKS) else span


def _mapped(span: Span, change: Any) -> Span:
    def each(attributes: dict[str, Any]) -> dict[str, Any]:
        return {key: change(value, 0) for key, value in attributes.items()}

    replace = msgspec.structs.replace
    origin = span.origin
    return replace(
        span,
        attributes=each(span.attributes),
        events=[replace(event, attributes=each(event.attributes)) for event in span.events],
        links=[replace(link, attributes=each(link.attributes)) for link in span.links],
        origin=replace(origin, resource=each(origin.resource), scope_attributes=each(origin.scope_attributes)),
    )


def _written(value: Any, depth: int) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": str(value)}
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, list | dict) and depth > MAX_DEPTH:
        raise InvalidData(f"an attribute of a span nests more than {MAX_DEPTH} deep")
    if isinstance(value, list):
        return [_written(item, depth + 1) for item in value]
    if isinstance(value, dict):
        inner = {key: _written(item, depth + 1) for key, item in value.items()}
        return {"$map": inner} if len(inner) == 1 and next(iter(inner)) in _MARKS else inner
    return value


def _read(value: Any, depth: int) -> Any:
    if isinstance(value, list):
        return [_read(item, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        mark, inner = next(iter(value.items()))
        if mark == "$float":
            return float(inner)
        if mark == "$bytes":
            return base64.b64decode(inner)
        if mark == "$map":
            return {key: _read(item, depth + 1) for key, item in inner.items()}
    return {key: _read(item, depth + 1) for key, item in value.items()}
