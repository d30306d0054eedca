"""Requests read as structs: proto3's JSON, in which whole numbers may be texts and unknown fields are let be."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from mainspring.core.errors import InvalidRequest

_MISSING = re.compile(r"Object missing required field `(\w+)`( - at `\$\.(.*)`)?")
_WRONG = re.compile(r" - at `\$\.?(.+)`$")
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
_SHOWN_CHARS = 500

Ask = TypeVar("Ask", bound=msgspec.Struct)


def read_body(body: bytes, ask: type[Ask], given: Mapping[str, str]) -> Ask:
    """Read a JSON body as *ask*, with the arguments *given* by the path on top.

    Raises InvalidRequest that names the field.
    """
    if not body and not given:
        body = b"{}"
    try:
        if given or b"NaN" in body or b"Infinity" in body:
            return msgspec.convert(_loose(body) | dict(given), ask, strict=False)
        return msgspec.json.decode(body, type=ask, strict=False)
    except msgspec.ValidationError as error:
        raise _told(error, _loose(body) | dict(given)) from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"the body is not a JSON object: {error}") from None


def read_query(query: Mapping[str, list[str]], ask: type[Ask], given: Mapping[str, str]) -> Ask:
    """Read the arguments of a query as *ask*; one that comes several times is a list."""
    lists = {field.encode_name for field in msgspec.structs.fields(ask) if "list" in str(field.type)}
    plain: dict[str, Any] = {name: values if name in lists else values[-1] for name, values in query.items()}
    try:
        return msgspec.convert(plain | dict(given), ask, strict=False)
    except msgspec.ValidationError as error:
        raise _told(error, plain) from None


def _told(error: msgspec.ValidationError, given: Any) -> InvalidRequest:
    said = str(error)
    missing = _MISSING.fullmatch(said)
    if missing is not None:
        name, _, where = missing.groups()
        return _needed(f"{where}.{name}" if where else name)
    wrong = _WRONG.search(said)
    if wrong is None:
        return InvalidRequest(f"Invalid value in the request: {said}")
    path = wrong[1]
    value = _at(given, path)
    if value is None:
        return _needed(path)
    if path == "version" and "`int`" in said:
        return InvalidRequest(f"Parameter 'version' must be an integer, got {value!r}.")
    shown = json.dumps(value, separators=(",", ":"))
    return InvalidRequest(f"Invalid value {shown[:_SHOWN_CHARS]} for parameter {path!r} supplied: {said}")


def _needed(path: str) -> InvalidRequest:
    return InvalidRequest(f"Missing value for required parameter {path!r}.")


def _at(given: Any, path: str) -> Any:
    found = given
    for name, place in _STEP.findall(path):
        try:
            found = found[int(place)] if place else found[name]
        except (KeyError, IndexError, TypeError):
            return None
    return found


def _loose(body: bytes) -> dict[str, Any]:
    # Python's own reader takes the literals NaN and Infinity, which older clients send and JSON does not have.
    found = json.loads(body or b"{}")
    if not isinstance(found, dict):
        raise ValueError("expected an object")
    return found
