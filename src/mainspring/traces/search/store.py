"""Filters, orders and pages of traces as SQL: what stands beside a trace is looked up by its key, never joined."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    Connection,
    Table,
    Text,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    not_,
    or_,
    select,
    true,
    type_coerce,
)
from sqlalchemy.exc import DataError

from mainspring.core.errors import InvalidRequest
from mainspring.core.filters import ATTRIBUTE, AllOf, AnyOf, Comparison, Field, Filter, Not, Order, Value
from mainspring.traces.correlation import Counts
from mainspring.traces.model import MAX_PAGE, Trace
from mainspring.traces.search.filters import JUDGED, OF_SPANS, is_number
from mainspring.traces.store import assessments, spans, trace_links, trace_metadata, trace_tags, traces

_COMPARE: dict[str, Callable[[Any, Any], ColumnElement[bool]]] = {
    "=": lambda column, value: column == value,
    "!=": lambda column, value: column != value,
    "<": lambda column, value: column < value,
    "<=": lambda column, value: column <= value,
    ">": lambda column, value: column > value,
    ">=": lambda column, value: column >= value,
}
_TABLES: dict[str, Table] = {"tag": trace_tags, "metadata": trace_metadata}


class _Term(NamedTuple):
    """A column of the order; none of them is ever NULL, so that rows can be compared with the last one of a page."""

    column: ColumnElement[Any]
    descending: bool


def find_traces(
    connection: Connection, named: Sequence[str], where: Filter, order: Sequence[Order], *, limit: int, page: str | None
) -> tuple[list[Trace], str | None]:
    """Find traces of the experiments *named*, and the token of the next page if there is one.

    Pages go on after the last row of the page before, so traces that come in between shift nothing.
    Raises InvalidRequest for a page token that is not of this order.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidRequest(f"Invalid value {limit} for the most results of a page: expected 1 to {MAX_PAGE}")
    terms = _terms(order)
    query = select(*traces.c, *(term.column for term in terms)).where(traces.c.experiment.in_(named))
    query = query.where(_condition(where, connection.dialect.name))
    if page:
        query = query.where(_beyond(terms, _read_page(page, len(terms))))
    sorting = [term.column.desc() if term.descending else term.column for term in terms]
    try:
        rows = connection.execute(query.order_by(*sorting).limit(limit + 1)).all()
    except DataError as error:
        raise InvalidRequest(f"the database cannot carry out the filter: {error.orig}".partition("\n")[0]) from None
    width = len(traces.c)
    found = [Trace(*row[:width]) for row in rows[:limit]]
    if len(rows) <= limit:
        return found, None
    return found, base64.urlsafe_b64encode(msgspec.json.encode(list(rows[limit - 1])[width:])).decode()


def count_together(connection: Connection, named: Sequence[str], base: Filter, one: Filter, two: Filter) -> Counts:
    """Count the traces of the experiments *named* that pass *base*, and those of them that pass two more filters."""
    first, second = (_condition(where, connection.dialect.name) for where in (one, two))
    query = select(func.count(), *(func.sum(case((test, 1), else_=0)) for test in (first, second, and_(first, second))))
    query = query.select_from(traces).where(traces.c.experiment.in_(named), _condition(base, connection.dialect.name))
    try:
        total, *passed = connection.execute(query).one()
    except DataError as error:
        raise InvalidRequest(f"the database cannot carry out the filter: {error.orig}".partition("\n")[0]) from None
    return Counts(total, *(int(count or 0) for count in passed))


def _terms(order: Sequence[Order]) -> list[_Term]:
    terms: list[_Term] = []
    seen: list[Field] = []
    for wanted in order:
        if wanted.field in seen:
            raise InvalidRequest(f"`order_by` contains {wanted.field.key!r} twice")
        seen.append(wanted.field)
        column = _sortable(wanted.field)
        terms.append(_Term(case((column.is_(None), 1), else_=0), False))
        empty: Any = 0 if is_number(wanted.field) else ""
        terms.append(_Term(func.coalesce(column, empty), wanted.descending))
    terms.append(_Term(traces.c.started_ms, True))
    terms.append(_Term(traces.c.id, False))
    return terms


def _sortable(field: Field) -> ColumnElement[Any]:
    if field.entity == ATTRIBUTE:
        return _column(field)
    if field.entity == "link":
        mine = (trace_links.c.trace == traces.c.id) & (trace_links.c.kind == field.key)
        return select(func.min(trace_links.c.target)).where(mine).correlate(traces).scalar_subquery()
    table = _TABLES[field.entity]
    mine = (table.c.trace == traces.c.id) & (table.c.key == field.key)
    return select(table.c.value).where(mine).correlate(traces).scalar_subquery()


def _column(field: Field) -> ColumnElement[Any]:
    if field.key == "ended_ms":
        return type_coerce(traces.c.started_ms + func.coalesce(traces.c.duration_ms, 0), BigInteger)
    return traces.c[field.key]


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
    try:
        values = msgspec.json.decode(base64.urlsafe_b64decode(page), type=list[int | str])
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        values = []
    if len(values) != size or any(isinstance(one, int) and not -(2**63) <= one < 2**63 for one in values):
        raise InvalidRequest("Invalid page token: hand back the one that came with the last page, with the same order")
    return values


def _condition(where: Filter, dialect: str) -> ColumnElement[bool]:
    if isinstance(where, AllOf):
        negated = _span_test(where, dialect)
        return and_(true(), *_all(where.parts, dialect)) if negated is None else _some_span([negated])
    if isinstance(where, AnyOf):
        return or_(*(_condition(part, dialect) for part in where.parts))
    if isinstance(where, Not):
        # A missing attribute makes a comparison NULL; NOT of that must hold.
        return not_(func.coalesce(_condition(where.part, dialect), literal(False)))
    return _comparison(where, dialect)


def _all(parts: Sequence[Filter], dialect: str) -> list[ColumnElement[bool]]:
    together: list[ColumnElement[bool]] = []
    found: list[ColumnElement[bool]] = []
    for part in parts:
        test = _span_test(part, dialect)
        if test is None:
            found.append(_condition(part, dialect))
        else:
            together.append(test)
    return [*found, _some_span(together)] if together else found


def _span_test(part: Filter, dialect: str) -> ColumnElement[bool] | None:
    """Give the test of a span that *part* is, so that one span may have to pass several; None when it is none."""
    if isinstance(part, Comparison) and part.field.entity in OF_SPANS and part.operator != "null":
        return _test(_of_span(part.field, dialect), part, dialect)
    if isinstance(part, AllOf) and len(part.parts) == 2:
        first, second = part.parts
        if not isinstance(first, Not) or not isinstance(second, Not):
            return None
        asked, said = first.part, second.part
        # As NOT IN and NOT LIKE are read: the field is there, and it is not this.
        if isinstance(asked, Comparison) and isinstance(said, Comparison) and asked == Comparison(said.field, "null"):
            test = _span_test(said, dialect)
            return None if test is None else not_(test)
    return None


def _some_span(tests: Sequence[ColumnElement[bool]]) -> ColumnElement[bool]:
    return exists(select(literal(1)).where(spans.c.trace == traces.c.id, *tests))


def _comparison(wanted: Comparison, dialect: str) -> ColumnElement[bool]:
    field = wanted.field
    if field.entity in OF_SPANS:
        column = _of_span(field, dialect)
        if wanted.operator == "null":
            return not_(_some_span([column.is_not(None)]))
        return _some_span([_test(column, wanted, dialect)])
    if field.entity == ATTRIBUTE:
        column = _column(field)
        return column.is_(None) if wanted.operator == "null" else _test(column, wanted, dialect)
    if field.entity in (*JUDGED, "issue"):
        return _judged(wanted, dialect)
    if field.entity == "link":
        mine = (trace_links.c.trace == traces.c.id) & (trace_links.c.kind == field.key)
        column = trace_links.c.target
    else:
        table = _TABLES[field.entity]
        mine = (table.c.trace == traces.c.id) & (table.c.key == field.key)
        column = table.c.value
    if wanted.operator == "null":
        return not_(exists(select(literal(1)).where(mine)))
    return exists(select(literal(1)).where(mine, _test(column, wanted, dialect)))


def _of_span(field: Field, dialect: str) -> ColumnElement[Any]:
    if field.entity == "span":
        return func.upper(spans.c.status) if field.key == "status" else spans.c[field.key]
    if dialect == "sqlite":
        path = f'$.attributes."{field.key}"'
        kind = func.json_type(spans.c.content, path)
        return case((kind.in_(["true", "false"]), kind), else_=cast(func.json_extract(spans.c.content, path), Text))
    # PostgreSQL refuses to take a text out of JSON that has NUL somewhere.
    whole = case((func.strpos(spans.c.content, r"\u0000") == 0, spans.c.content), else_="{}")
    return func.json_extract_path_text(cast(whole, JSON), "attributes", field.key, type_=Text)


def _judged(wanted: Comparison, dialect: str) -> ColumnElement[bool]:
    field, operator = wanted.field, wanted.operator
    mine = [assessments.c.trace == traces.c.id, assessments.c.kind == field.entity]
    if field.entity == "issue":
        return exists(select(literal(1)).where(*mine, assessments.c.name.in_([str(value) for value in wanted.values])))
    mine += [assessments.c.name == field.key, assessments.c.valid.is_(True)]
    if operator == "null":
        return not_(exists(select(literal(1)).where(*mine)))
    value = type_coerce(assessments.c.value, Text)
    if operator in ("=", "!=", "in"):
        # The text 'yes' and the JSON true are both written in quotes in a filter.
        either = [form for one in wanted.values for form in (str(one), msgspec.json.encode(str(one)).decode())]
        test = value.in_(either)
        return exists(select(literal(1)).where(*mine, not_(test) if operator == "!=" else test))
    numbers = operator in ("<", "<=", ">", ">=")
    return exists(select(literal(1)).where(*mine, _test(assessments.c.number if numbers else value, wanted, dialect)))


def _test(column: ColumnElement[Any], wanted: Comparison, dialect: str) -> ColumnElement[bool]:
    values = [_stored(wanted.field, value) for value in wanted.values]
    if wanted.operator == "in":
        return column.in_(values)
    if wanted.operator == "rlike":
        return column.op("REGEXP" if dialect == "sqlite" else "~", is_comparison=True)(values[0])
    if wanted.operator == "ilike":
        # Without an escape character, which only PostgreSQL would have by default.
        return column.ilike(str(values[0]), escape=None if dialect == "sqlite" else "")
    if wanted.operator == "like":
        return _like(column, str(values[0]), dialect)
    return _COMPARE[wanted.operator](column, values[0])


def _like(column: ColumnElement[Any], pattern: str, dialect: str) -> ColumnElement[bool]:
    if dialect != "sqlite":
        return column.like(pattern, escape="")
    # LIKE ignores case on SQLite, GLOB does not.
    glob = "".join({"%": "*", "_": "?"}.get(c, f"[{c}]" if c in "*?[" else c) for c in pattern)
    return column.op("GLOB", is_comparison=True)(glob)


def _stored(field: Field, value: Value) -> float | str:
    if field == Field(ATTRIBUTE, "state"):
        text = str(value).lower()
        return "unspecified" if text in ("trace_status_unspecified", "state_unspecified") else text
    if field == Field("span", "status"):
        return str(value).upper()
    return value
