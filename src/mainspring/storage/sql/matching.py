"""Tests of columns as filters ask for them, with the same meaning in both dialects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, func, literal, not_, or_, true

from mainspring.core.filters import AllOf, AnyOf, Comparison, Filter, Not

_COMPARE: dict[str, Callable[[Any, Any], ColumnElement[bool]]] = {
    "=": lambda column, value: column == value,
    "!=": lambda column, value: column != value,
    "<": lambda column, value: column < value,
    "<=": lambda column, value: column <= value,
    ">": lambda column, value: column > value,
    ">=": lambda column, value: column >= value,
}


def matches(column: ColumnElement[Any], operator: str, values: Sequence[Any], dialect: str) -> ColumnElement[bool]:
    """Give the test of a column: a comparison, ``in``, ``like`` (by case) or ``ilike``; ``%`` and ``_`` are wild."""
    if operator == "in":
        return column.in_(values)
    if operator == "ilike":
        # Without an escape character, which only PostgreSQL would have by default.
        return column.ilike(str(values[0]), escape=None if dialect == "sqlite" else "")
    if operator == "like":
        return _like(column, str(values[0]), dialect)
    return _COMPARE[operator](column, values[0])


def condition(where: Filter, test: Callable[[Comparison], ColumnElement[bool]]) -> ColumnElement[bool]:
    """Give the condition that a filter is, with *test* for each of its comparisons."""
    if isinstance(where, AllOf):
        return and_(true(), *(condition(part, test) for part in where.parts))
    if isinstance(where, AnyOf):
        return or_(*(condition(part, test) for part in where.parts))
    if isinstance(where, Not):
        # A missing attribute makes a comparison NULL; NOT of that must hold.
        return not_(func.coalesce(condition(where.part, test), literal(False)))
    return test(where)


def below(path: ColumnElement[Any], folder: str, dialect: str) -> ColumnElement[bool]:
    """Give the test of a path that lies below a folder; the empty one holds all.

    LIKE would ignore case on SQLite, and take % for anything.
    """
    if not folder:
        return true()
    if dialect == "sqlite":
        # Its order is that of the bytes, so a folder is a range of an index: '0' comes after '/'.
        return and_(path > f"{folder}/", path < f"{folder}0")
    return func.starts_with(path, f"{folder}/")


def position(text: ColumnElement[Any], sign: str, dialect: str) -> ColumnElement[int]:
    """Give where *sign* stands in a text, from 1 on; 0 when it does not."""
    return func.instr(text, sign) if dialect == "sqlite" else func.strpos(text, sign)


def _like(column: ColumnElement[Any], pattern: str, dialect: str) -> ColumnElement[bool]:
    if dialect != "sqlite":
        return column.like(pattern, escape="")
    # LIKE ignores case on SQLite, GLOB does not.
    glob = "".join({"%": "*", "_": "?"}.get(c, f"[{c}]" if c in "*?[" else c) for c in pattern)
    return column.op("GLOB", is_comparison=True)(glob)
