"""Filters, orders and pages of runs as SQL that reads only indexed rows beside the runs themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
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
    select,
    type_coerce,
)

from mainspring.core.filters import Comparison, Field, Filter, Order
from mainspring.storage.sql.matching import condition, matches
from mainspring.tracking import paging
from mainspring.tracking.comparing.store import beyond, compare, in_lifecycle, read_page
from mainspring.tracking.inputs import store as input_store
from mainspring.tracking.metrics.store import NAN, series, sortable
from mainspring.tracking.model import KEPT_HERE, Lifecycle
from mainspring.tracking.search.filters import kind_of
from mainspring.tracking.store import experiments, run_params, run_tags, runs

_TABLES: dict[str, Table] = {"metric": series, "param": run_params, "tag": run_tags}
_STATUS = Field("attribute", "status")


class _Term(NamedTuple):
    """A column of the order; none of them is ever NULL, so that rows can be compared with the last one of a page."""

    column: ColumnElement[Any]
    descending: bool


def find_runs(
    connection: Connection,
    within: ColumnElement[bool],
    where: Filter,
    order: Sequence[Order],
    *,
    lifecycle: Lifecycle = "active",
    limit: int,
    page: str | None,
) -> tuple[list[str], str | None]:
    """Find runs for which *within* holds: their ids, and the token of the next page if there is one.

    Only what the order and the filter need is read of each candidate, from indexes that hold it; the rest is for
    `rows.read_rows`. Pages go on after the last row of the page before, so runs that start in between shift nothing.
    Raises InvalidRequest for a page token that is not of this order.
    """
    dialect = connection.dialect.name
    query, terms, joined = _ordered(select(runs.c.id), order)
    test = partial(_comparison, dialect=dialect, joined=joined)
    query = query.where(within, in_lifecycle(runs.c.deleted, lifecycle), condition(where, test))
    if page is not None:
        query = query.where(beyond(terms, read_page(page, len(terms))))
    sorting = [term.column.desc() if term.descending else term.column for term in terms]
    query = query.add_columns(*(term.column for term in terms)).order_by(*sorting).limit(limit + 1)
    rows = connection.execute(query).all()
    found = [row[0] for row in rows[:limit]]
    return found, paging.encode(list(rows[limit - 1])[1:]) if len(rows) > limit else None


def of_experiments(ids: Sequence[str]) -> ColumnElement[bool]:
    """Give the test of runs of the experiments with these ids."""
    return runs.c.experiment.in_(ids)


def _ordered(
    query: Select[Any], order: Sequence[Order]
) -> tuple[Select[Any], list[_Term], dict[Field, ColumnElement[Any]]]:
    terms: list[_Term] = []
    joined: dict[Field, ColumnElement[Any]] = {}
    for number, wanted in enumerate(order):
        column, empty = _plain(wanted.field), _empty(wanted.field)
        if wanted.field.entity != "attribute":
            table = _TABLES[wanted.field.entity].alias(f"order{number}")
            mine = (table.c.run == runs.c.id) & (table.c.key == wanted.field.key)
            query = query.outerjoin(table, mine)
            column = type_coerce(table.c.value, BigInteger) if wanted.field.entity == "metric" else table.c.value
            joined[wanted.field] = column
        last = (
            case((column.is_(None), 2), (column == NAN, 1), else_=0)
            if empty == 0
            else case((column.is_(None), 2), else_=0)
        )
        terms.append(_Term(last, False))
        terms.append(_Term(func.coalesce(column, empty), wanted.descending))
    terms.append(_Term(type_coerce(runs.c.started, BigInteger), True))
    terms.append(_Term(runs.c.id, False))
    return query, terms, joined


def _plain(field: Field) -> ColumnElement[Any]:
    if field.entity != "attribute":
        return runs.c.id
    if field.key == "artifact_uri":
        own = literal(KEPT_HERE) + experiments.c.id
        root = select(func.coalesce(experiments.c.location, own)).where(experiments.c.id == runs.c.experiment)
        return root.scalar_subquery() + literal("/") + runs.c.id + literal("/artifacts")
    column = runs.c[field.key]
    return type_coerce(column, BigInteger) if kind_of(field) == "time" else column


def _empty(field: Field) -> int | str:
    return "" if kind_of(field) == "text" else 0


def _comparison(wanted: Comparison, dialect: str, joined: Mapping[Field, ColumnElement[Any]]) -> ColumnElement[bool]:
    field = wanted.field
    if field in joined:  # What the runs are sorted by is read once. NULL, where there is none, passes no test.
        column = joined[field]
        return column.is_(None) if wanted.operator == "null" else _test(column, wanted, dialect)
    if field.entity == "attribute":
        column = _plain(field)
        return column.is_(None) if wanted.operator == "null" else _test(column, wanted, dialect)
    if field.entity == "dataset":
        return _dataset(wanted, dialect)
    table = _TABLES[field.entity]
    mine = (table.c.run == runs.c.id) & (table.c.key == field.key)
    if wanted.operator == "null":
        return not_(exists(select(literal(1)).where(mine)))
    column = type_coerce(table.c.value, BigInteger) if field.entity == "metric" else table.c.value
    return exists(select(literal(1)).where(mine, _test(column, wanted, dialect)))


def _dataset(wanted: Comparison, dialect: str) -> ColumnElement[bool]:
    used, known = input_store.run_foreign_inputs, input_store.foreign_datasets
    column = used.c.context if wanted.field.key == "context" else known.c[wanted.field.key]
    mine = (used.c.run == runs.c.id) & (used.c.dataset == known.c.id)
    if wanted.operator == "null":
        return not_(exists(select(literal(1)).where(mine, column.is_not(None))))
    return exists(select(literal(1)).where(mine, _test(column, wanted, dialect)))


def _test(column: ColumnElement[Any], wanted: Comparison, dialect: str) -> ColumnElement[bool]:
    kind = kind_of(wanted.field)
    if kind == "number":
        found = matches(column, wanted.operator, [sortable(float(value)) for value in wanted.values], dialect)
        # NaN is stored as the greatest number, yet it is greater than nothing.
        return and_(found, column != NAN) if wanted.operator in (">", ">=") else found
    if wanted.field == _STATUS:
        # Ours are written small; those who come from elsewhere shout them.
        wanted = Comparison(_STATUS, wanted.operator, [str(value).lower() for value in wanted.values])
    return compare(column, kind, wanted, dialect)
