"""Filters, orders and pages of runs as SQL that reads only indexed rows beside the runs themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    case,
    exists,
    func,
    literal,
    not_,
    or_,
    select,
    true,
    type_coerce,
)

from mainspring.core.errors import InvalidRequest
from mainspring.tracking import paging
from mainspring.tracking.metrics.store import NAN, latest_of, series, sortable
from mainspring.tracking.model import Run, RunDetails, RunPart
from mainspring.tracking.search.filters import AllOf, AnyOf, Comparison, Field, Filter, Not, Order, Value
from mainspring.tracking.store import experiments, inputs_of, run_of, run_params, run_tags, runs, select_runs, texts_of

_TABLES: dict[str, Table] = {"metric": series, "param": run_params, "tag": run_tags}
_TIMES = ("started", "ended")
_COMPARE: dict[str, Callable[[Any, Any], ColumnElement[bool]]] = {
    "=": lambda column, value: column == value,
    "!=": lambda column, value: column != value,
    "<": lambda column, value: column < value,
    "<=": lambda column, value: column <= value,
    ">": lambda column, value: column > value,
    ">=": lambda column, value: column >= value,
}


class _Term(NamedTuple):
    """A column of the order; none of them is ever NULL, so that rows can be compared with the last one of a page."""

    column: ColumnElement[Any]
    descending: bool


def find_runs(
    connection: Connection, named: Sequence[str], where: Filter, order: Sequence[Order], *, limit: int, page: str | None
) -> tuple[list[Run], str | None]:
    """Find runs of the experiments *named* (none: of all), and the token of the next page if there is one.

    Pages go on after the last row of the page before, so runs that start in between shift nothing.
    Raises InvalidRequest for a page token that is not of this order.
    """
    dialect = connection.dialect.name
    query, terms = _ordered(select_runs(), order)
    query = query.where(_condition(where, dialect))
    if named:
        query = query.where(experiments.c.name.in_(named))
    if page is not None:
        query = query.where(_beyond(terms, _read_page(page, len(terms))))
    sorting = [term.column.desc() if term.descending else term.column for term in terms]
    query = query.add_columns(*(term.column for term in terms)).order_by(*sorting).limit(limit + 1)
    rows = connection.execute(query).all()
    found = [run_of(row) for row in rows[:limit]]
    if len(rows) <= limit:
        return found, None
    return found, paging.encode(list(rows[limit - 1])[-len(terms) :])


def details_of(connection: Connection, found: Sequence[Run], include: Sequence[RunPart]) -> list[RunDetails]:
    """Read those parts of runs that are asked for, in one query each."""
    ids = [run.id for run in found]
    params = texts_of(connection, run_params, ids) if "params" in include else {}
    metrics = latest_of(connection, ids) if "metrics" in include else {}
    tags = texts_of(connection, run_tags, ids) if "tags" in include else {}
    inputs = inputs_of(connection, ids) if "inputs" in include else {}
    return [
        RunDetails(run, params.get(run.id, {}), metrics.get(run.id, {}), tags.get(run.id, {}), inputs.get(run.id, []))
        for run in found
    ]


def _ordered(query: Select[Any], order: Sequence[Order]) -> tuple[Select[Any], list[_Term]]:
    terms: list[_Term] = []
    for number, wanted in enumerate(order):
        column, empty = _plain(wanted.field), _empty(wanted.field)
        if wanted.field.entity != "attribute":
            table = _TABLES[wanted.field.entity].alias(f"order{number}")
            joined = (table.c.run == runs.c.id) & (table.c.key == wanted.field.key)
            query = query.outerjoin(table, joined)
            column = type_coerce(table.c.value, BigInteger) if wanted.field.entity == "metric" else table.c.value
        last = (
            case((column.is_(None), 2), (column == NAN, 1), else_=0)
            if empty == 0
            else case((column.is_(None), 2), else_=0)
        )
        terms.append(_Term(last, False))
        terms.append(_Term(func.coalesce(column, empty), wanted.descending))
    terms.append(_Term(type_coerce(runs.c.started, BigInteger), True))
    terms.append(_Term(runs.c.id, False))
    return query, terms


def _plain(field: Field) -> ColumnElement[Any]:
    column = runs.c[field.key] if field.entity == "attribute" else runs.c.id
    return type_coerce(column, BigInteger) if field.key in _TIMES else column


def _empty(field: Field) -> int | str:
    number = field.entity == "metric" or (field.entity == "attribute" and field.key in _TIMES)
    return 0 if number else ""


def _beyond(terms: Sequence[_Term], last: Sequence[int | str]) -> ColumnElement[bool]:
    either: list[ColumnElement[bool]] = []
    equal: list[ColumnElement[bool]] = []
    for term, value in zip(terms, last, strict=True):
        either.append(and_(*equal, term.column < value if term.descending else term.column > value))
        equal.append(term.column == value)
    # The first bound is implied by the alternatives; said apart, it lets an index skip the pages before.
    first, value = terms[0], last[0]
    bound = first.column <= value if first.descending else first.column >= value
    return and_(bound, or_(*either))


def _read_page(page: str, size: int) -> list[int | str]:
    values = paging.decode(page, list[int | str])
    if len(values) != size:
        raise InvalidRequest("the page does not belong to this search: hand back next_page with the same order")
    return values


def _condition(where: Filter, dialect: str) -> ColumnElement[bool]:
    if isinstance(where, AllOf):
        return and_(true(), *(_condition(part, dialect) for part in where.parts))
    if isinstance(where, AnyOf):
        return or_(*(_condition(part, dialect) for part in where.parts))
    if isinstance(where, Not):
        # A missing attribute makes a comparison NULL; NOT of that must hold.
        return not_(func.coalesce(_condition(where.part, dialect), literal(False)))
    return _comparison(where, dialect)


def _comparison(wanted: Comparison, dialect: str) -> ColumnElement[bool]:
    field = wanted.field
    if field.entity == "attribute":
        column = _plain(field)
        return column.is_(None) if wanted.operator == "null" else _test(column, wanted, dialect)
    table = _TABLES[field.entity]
    mine = (table.c.run == runs.c.id) & (table.c.key == field.key)
    if wanted.operator == "null":
        return not_(exists(select(literal(1)).where(mine)))
    column = type_coerce(table.c.value, BigInteger) if field.entity == "metric" else table.c.value
    return exists(select(literal(1)).where(mine, _test(column, wanted, dialect)))


def _test(column: ColumnElement[Any], wanted: Comparison, dialect: str) -> ColumnElement[bool]:
    values = [_stored(wanted.field, value) for value in wanted.values]
    if wanted.operator == "in":
        return column.in_(values)
    if wanted.operator == "ilike":
        # Without an escape character, which only PostgreSQL would have by default.
        return column.ilike(str(values[0]), escape=None if dialect == "sqlite" else "")
    if wanted.operator == "like":
        return _like(column, str(values[0]), dialect)
    found = _COMPARE[wanted.operator](column, values[0])
    if wanted.field.entity == "metric" and wanted.operator in (">", ">="):
        return and_(found, column != NAN)  # It is stored as the greatest number, yet greater than nothing.
    return found


def _like(column: ColumnElement[Any], pattern: str, dialect: str) -> ColumnElement[bool]:
    if dialect != "sqlite":
        return column.like(pattern, escape="")
    # LIKE ignores case on SQLite, GLOB does not.
    glob = "".join({"%": "*", "_": "?"}.get(c, f"[{c}]" if c in "*?[" else c) for c in pattern)
    return column.op("GLOB", is_comparison=True)(glob)


def _stored(field: Field, value: Value) -> int | str:
    if field.entity == "metric":
        return sortable(float(value))
    if field.entity == "attribute" and field.key in _TIMES:
        return _microseconds(value)
    return str(value)


def _microseconds(value: Value) -> int:
    if isinstance(value, float):
        return int(value * 1000)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise InvalidRequest(f"{value!r} is not a time: write '2026-01-31T12:00:00Z' or milliseconds") from None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1_000_000)
