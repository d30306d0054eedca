"""How columns are compared with the values of a filter, and rows with the last one of a page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, not_, or_, true

from mainspring.core.errors import InvalidRequest
from mainspring.core.filters import Comparison, Value
from mainspring.storage.sql.matching import matches
from mainspring.tracking import paging
from mainspring.tracking.model import Lifecycle

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


def compare(column: ColumnElement[Any], kind: Kind, wanted: Comparison, dialect: str) -> ColumnElement[bool]:
    """Give the test of a column of texts or times (in microseconds)."""
    if kind == "time":
        return _compare_time(column, wanted)
    return matches(column, wanted.operator, [str(value) for value in wanted.values], dialect)


def _compare_time(column: ColumnElement[Any], wanted: Comparison) -> ColumnElement[bool]:
    # A number is a millisecond, which lasts a thousand microseconds; a text is a moment.
    spans = [_span(value) for value in wanted.values]
    first, last = spans[0]
    if wanted.operator in ("=", "in"):
        return or_(*(column.between(*span) for span in spans))
    if wanted.operator == "!=":
        return not_(column.between(first, last))
    if wanted.operator in ("<", ">="):
        return column < first if wanted.operator == "<" else column >= first
    return column > last if wanted.operator == ">" else column <= last


def _span(value: Value) -> tuple[int, int]:
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


def in_lifecycle(deleted: ColumnElement[Any], lifecycle: Lifecycle) -> ColumnElement[bool]:
    """Give the test of records that are in use, deleted, or either."""
    if lifecycle == "all":
        return true()
    return deleted.is_(None) if lifecycle == "active" else deleted.is_not(None)


def beyond(terms: Sequence[tuple[ColumnElement[Any], bool]], last: Sequence[int | str]) -> ColumnElement[bool]:
    """Give the test of rows that come after the row *last* in the order of *terms*, each a column and if descending."""
    either: list[ColumnElement[bool]] = []
    equal: list[ColumnElement[bool]] = []
    for (column, descending), value in zip(terms, last, strict=True):
        either.append(and_(*equal, column < value if descending else column > value))
        equal.append(column == value)
    # The first bound is implied by the alternatives; said apart, it lets an index skip the pages before.
    (first, falling), value = terms[0], last[0]
    return and_(first <= value if falling else first >= value, or_(*either))


def read_page(page: str, size: int) -> list[int | str]:
    """Read the token of a page of a search by *size* terms; raises InvalidRequest for another."""
    values = paging.decode(page, list[int | str])
    if len(values) != size:
        raise InvalidRequest("the page does not belong to this search: hand back next_page with the same order")
    return values
