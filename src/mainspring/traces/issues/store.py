"""The table of issues, and the SQL that writes and finds them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Index,
    Row,
    Table,
    Text,
    case,
    func,
    insert,
    null,
    select,
    update,
)

from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.core.filters import ATTRIBUTE, Comparison, Filter
from mainspring.storage.sql.matching import condition, matches
from mainspring.storage.sql.schema import Instant, Packed, metadata
from mainspring.traces.issues.model import Issue
from mainspring.traces.store import assessments

issues = Table(
    "issues",
    metadata,
    Column("id", Text, primary_key=True),
    Column("experiment", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("severity", Text),
    Column("root_causes", Packed(list[str]), nullable=False),
    Column("categories", Packed(list[str]), nullable=False),
    Column("run", Text),
    Column("created", Instant, nullable=False),
    Column("updated", Instant, nullable=False),
    Column("created_by", Text),
    Index("ix_issues_experiment", "experiment", "created"),
)

_FIELDS: dict[str, Column[Any]] = {
    "status": issues.c.status,
    "severity": issues.c.severity,
    "name": issues.c.name,
    **dict.fromkeys(("run", "source_run_id"), issues.c.run),
}
_RANKS = {"high": 3, "medium": 2, "low": 1, "not_an_issue": 0}


def insert_issue(connection: Connection, issue: Issue) -> None:
    """Add an issue."""
    connection.execute(insert(issues), {column.name: getattr(issue, column.name) for column in issues.c})


def change(connection: Connection, id: str, **values: Any) -> None:
    """Change columns of an issue."""
    connection.execute(update(issues).where(issues.c.id == id).values(**values))


def require(connection: Connection, id: str, *, locked: bool = False) -> Issue:
    """Get an issue, with *locked* one that nobody else changes until the end of the transaction; raises NotFound."""
    query = select(issues, null().label("traces")).where(issues.c.id == id)
    row = connection.execute(query.with_for_update() if locked else query).first() if id.isprintable() else None
    if row is None:
        raise NotFound(f"Issue with ID '{id}' not found", issue=id)
    return _issue(row)


def search(
    connection: Connection, experiment: str | None, where: Filter, *, counted: bool, limit: int, offset: int
) -> list[Issue]:
    """Find issues, the worst first and of those the newest; *counted*: with how many traces show each, most first."""
    dialect = connection.dialect.name
    traces: ColumnElement[Any] = null()
    query = select(issues)
    if counted:
        # Counted for all at once: there is no index of judgements by their names.
        counts = select(assessments.c.name, func.count(assessments.c.trace.distinct()).label("traces"))
        shown = counts.where(assessments.c.kind == "issue").group_by(assessments.c.name).subquery()
        traces = func.coalesce(shown.c.traces, 0)
        query = query.outerjoin(shown, shown.c.name == issues.c.id)
    query = query.add_columns(traces.label("traces"))
    query = query.where(condition(where, lambda wanted: _comparison(wanted, dialect)))
    if experiment is not None:
        query = query.where(issues.c.experiment == experiment)
    order: list[ColumnElement[Any]] = [case(_RANKS, value=issues.c.severity, else_=-1).desc()]
    if counted:
        order.append(traces.desc())
    query = query.order_by(*order, issues.c.created.desc(), issues.c.id.desc())
    return [_issue(row) for row in connection.execute(query.limit(limit).offset(offset))]


def _comparison(wanted: Comparison, dialect: str) -> ColumnElement[bool]:
    column = _FIELDS.get(wanted.field.key) if wanted.field.entity == ATTRIBUTE else None
    if column is None:
        raise InvalidRequest(f"Invalid filter field '{wanted.field}'. Supported fields: {', '.join(_FIELDS)}")
    if wanted.operator == "null":
        return column.is_(None)
    if wanted.operator in ("<", "<=", ">", ">="):
        raise InvalidRequest(f"Invalid comparator '{wanted.operator}' for {wanted.field}: use =, !=, LIKE or IN")
    if not all(isinstance(value, str) for value in wanted.values):
        raise InvalidRequest(f"{wanted.field} is a text: expected a quoted string value, such as 'pending'")
    return matches(column, wanted.operator, wanted.values, dialect)


def _issue(row: Row[Any]) -> Issue:
    return Issue(**row._mapping)
