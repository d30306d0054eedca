"""What the values of a filter may be, and which moments they mean."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from mainspring.core.errors import InvalidRequest
from mainspring.core.filters import Comparison, Value

Kind = Literal["text", "time", "number"]
_ORDERED = ("<", "<=", ">", ">=")


def check(comparison: Comparison, kind: Kind) -> Comparison:
    """Give *comparison* back; raises InvalidRequest when its operator or value is none for a field of this kind."""
    field, operator, values = comparison.field, comparison.operator, comparison.values
    if operator == "null":
        return comparison
    if kind == "number" and (operator in ("like", "ilike") or not all(isinstance(value, float) for value in values)):
        raise InvalidRequest(f"{field} is a number: compare it with numbers, without quotes")
    if kind == "time" and operator in ("like", "ilike"):
        raise InvalidRequest(f"{field} is a time: compare it with '2026-01-31T12:00:00Z' or milliseconds")
    if kind == "text" and (operator in _ORDERED or not all(isinstance(value, str) for value in values)):
        raise InvalidRequest(f"{field} is a text: compare it by =, !=, LIKE or IN, with the value in quotes")
    return comparison


def span(value: Value) -> tuple[int, int]:
    """Give the first and the last microsecond that a value means: a number is a millisecond, a text is a moment."""
    if isinstance(value, float):
        if abs(value) > 2**52:
            raise InvalidRequest(f"{value:.0f} is not a time in milliseconds")
        first = int(value * 1000)
        return first, first + 999 if value.is_integer() else first
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise InvalidRequest(f"{value!r} is not a time: write '2026-01-31T12:00:00Z' or milliseconds") from None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    exact = round(aware.timestamp() * 1_000_000)
    return exact, exact
