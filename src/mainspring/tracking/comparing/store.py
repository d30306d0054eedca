"""Tests of columns against the values of a filter, and of rows against the last one of a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, and_, not_, or_, type_coerce

from mainspring.core.errors import InvalidRequest
from mainspring.core.filters import Comparison
from mainspring.storage.sql.matching import matches
from mainspring.tracking import paging
from mainspring.tracking.comparing.values import Kind, span
from mainspring.tracking.model import GONE, Lifecycle, microseconds


def compare(column: ColumnElement[Any], kind: Kind, wanted: Comparison, dialect: str) -> ColumnElement[bool]:
    """Give the test of a column of texts or times (in microseconds)."""
    if kind == "time":
        return _compare_time(column, wanted)
    return matches(column, wanted.operator, [str(value) for value in wanted.values], dialect)


def _compare_time(column: ColumnElement[Any], wanted: Comparison) -> ColumnElement[bool]:
    spans = [span(value) for value in wanted.values]
    first, last = spans[0]
    if wanted.operator in ("=", "in"):
        return or_(*(column.between(*both) for both in spans))
    if wanted.operator == "!=":
        return not_(column.between(first, last))
    if wanted.operator in ("<", ">="):
        return column < first if wanted.operator == "<" else column >= first
    return column > last if wanted.operator == ">" else column <= last


def in_lifecycle(deleted: ColumnElement[Any], lifecycle: Lifecycle) -> ColumnElement[bool]:
    """Give the test of records that are in use, deleted, or either."""
    if lifecycle == "active":
        return deleted.is_(None)
    restorable = type_coerce(deleted, BigInteger) != microseconds(GONE)
    return restorable if lifecycle == "deleted" else or_(deleted.is_(None), restorable)


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
