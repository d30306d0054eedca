"""The tables of traces, and the SQL that writes them and reads them by id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Row,
    Table,
    Text,
    and_,
    delete,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from mainspring.core.errors import NotFound
from mainspring.storage.sql.schema import Packed, metadata
from mainspring.traces import content
from mainspring.traces.limits import check_id
from mainspring.traces.model import Assessment, LinkKind, Span, Trace, TraceSpans

_ROWS = 500
"""Ids in one statement: SQLite takes 32,766 values in one."""
_OPEN = ("in_progress", "unspecified")

traces = Table(
    "traces",
    metadata,
    Column("id", Text, primary_key=True),
    Column("experiment", Text, nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("duration_ms", BigInteger),
    Column("state", Text, nullable=False),
    Column("client_request", Text),
    Column("request", Text),
    Column("response", Text),
    Column("complete", Boolean, nullable=False),
    Column("has_spans", Boolean, nullable=False),
    Index("ix_traces_experiment_started", "experiment", "started_ms", "id"),
)


def _of_trace() -> Column[str]:
    return Column("trace", Text, ForeignKey("traces.id", ondelete="CASCADE"), primary_key=True)


trace_tags = Table(
    "trace_tags",
    metadata,
    _of_trace(),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    sqlite_with_rowid=False,
)

trace_metadata = Table(
    "trace_metadata",
    metadata,
    _of_trace(),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    sqlite_with_rowid=False,
)

trace_links = Table(  # The runs that a trace belongs to, and the versions of prompts that it used.
    "trace_links",
    metadata,
    _of_trace(),
    Column("kind", Text, primary_key=True),
    Column("target", Text, primary_key=True),
    Index("ix_trace_links_target", "kind", "target"),
    sqlite_with_rowid=False,
)

spans = Table(
    "spans",
    metadata,
    _of_trace(),
    Column("id", Text, primary_key=True),
    Column("parent", Text),
    Column("name", Text, nullable=False),
    Column("type", Text),
    Column("status", Text, nullable=False),
    Column("started_ns", BigInteger, nullable=False),
    Column("ended_ns", BigInteger),
    Column("content", Text, nullable=False),
)

assessments = Table(
    "assessments",
    metadata,
    Column("id", Text, primary_key=True),
    Column("trace", Text, ForeignKey("traces.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("source_type", Text, nullable=False),
    Column("value", Packed()),
    Column("number", Float),  # The value where it is one: JSON text does not compare.
    Column("error", Packed(dict[str, str])),
    Column("source_id", Text),
    Column("span", Text),
    Column("rationale", Text),
    Column("metadata", Packed(dict[str, str]), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("overrides", Text),
    Column("valid", Boolean, nullable=False),
)

_MOST_NUMBER = 1e300
T = TypeVar("T")


def parts(rows: Sequence[T], size: int = _ROWS) -> Iterable[Sequence[T]]:
    """Cut rows into as many as one statement takes."""
    for at in range(0, len(rows), size):
        yield rows[at : at + size]


def trace_columns(trace: Trace) -> dict[str, Any]:
    """Give the row of a trace."""
    return {column.name: getattr(trace, column.name) for column in traces.c}


@lru_cache(maxsize=32)
def _insertion(table: Table, dialect: str, replace: bool) -> Any:
    statement = (sqlite.insert if dialect == "sqlite" else postgresql.insert)(table)
    keys = [column.name for column in table.primary_key]
    if not replace:
        return statement.on_conflict_do_nothing(index_elements=keys)
    new = statement.excluded
    settings = {column.name: new[column.name] for column in table.c if not column.primary_key}
    if table is not spans:
        return statement.on_conflict_do_update(index_elements=keys, set_=settings)
    later = or_(new.ended_ns.is_not(None), spans.c.ended_ns.is_(None))
    return statement.on_conflict_do_update(index_elements=keys, set_=settings, where=later)


def write(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *, replace: bool = True) -> None:
    """Write rows, each once by its key: one that stands is replaced or left as it is.

    A span that has ended is not replaced by what it was before it ended. The statement is the same for any number of
    rows, so that it is compiled once.
    """
    if rows:
        connection.execute(_insertion(table, connection.dialect.name, replace), list(rows))


def begin_traces(connection: Connection, begun: Sequence[Trace]) -> dict[str, Trace]:
    """Insert the rows of those traces that are not there yet, and lock all of them; gives the rows that stand."""
    standing: dict[str, Trace] = {}
    # One that was there may be deleted before it is locked.
    while missing := sorted((one for one in begun if one.id not in standing), key=lambda one: one.id):
        write(connection, traces, [trace_columns(one) for one in missing], replace=False)
        standing |= lock_traces(connection, [one.id for one in missing])
    return standing


def lock_traces(connection: Connection, ids: Sequence[str]) -> dict[str, Trace]:
    """Read the rows of traces, without their tags and so on, and let nobody else write to them until the commit."""
    found: dict[str, Trace] = {}
    for part in parts(sorted(ids)):
        query = select(traces).where(traces.c.id.in_(part)).order_by(traces.c.id).with_for_update()
        found |= {row.id: Trace(*row) for row in connection.execute(query)}
    return found


def require_locked(connection: Connection, trace: str) -> Trace:
    """Lock the row of one trace; raises NotFound."""
    check_id(trace)
    for found in lock_traces(connection, [trace]).values():
        return found
    raise unknown(trace)


def unknown(trace: str) -> NotFound:
    """Give the error that says that there is no such trace."""
    return NotFound(f"Trace with ID '{trace}' not found: it was never logged, or was deleted", trace=trace)


def update_trace(connection: Connection, trace: str, changed: Mapping[str, Any]) -> None:
    """Set columns of a trace."""
    if changed:
        connection.execute(update(traces).where(traces.c.id == trace).values(**changed))


def set_texts(
    connection: Connection, table: Table, texts: Mapping[str, Mapping[str, str]], *, keep: bool = False
) -> None:
    """Set tags or metadata by trace; *keep*: only those whose key is not there."""
    rows = [
        {"trace": trace, "key": key, "value": value}
        for trace, mine in sorted(texts.items())
        for key, value in sorted(mine.items())
    ]
    write(connection, table, rows, replace=not keep)


def delete_tag(connection: Connection, trace: str, key: str) -> bool:
    """Remove a tag and tell whether it was there."""
    mine = (trace_tags.c.trace == trace) & (trace_tags.c.key == key)
    return connection.execute(delete(trace_tags).where(mine)).rowcount > 0


def insert_links(connection: Connection, kind: LinkKind, pairs: Sequence[tuple[str, str]]) -> None:
    """Link traces with what they belong to; a link that is there stays."""
    rows = [{"trace": trace, "kind": kind, "target": target} for trace, target in sorted(pairs)]
    write(connection, trace_links, rows, replace=False)


def existing(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Tell which of these traces there are."""
    found: set[str] = set()
    for part in parts(ids):
        found |= set(connection.execute(select(traces.c.id).where(traces.c.id.in_(part))).scalars())
    return found


def span_rows(came: TraceSpans) -> list[dict[str, Any]]:
    """Give the rows of spans; of several with one id, the one that ended, or else the last. It needs no connection."""
    rows: dict[str, dict[str, Any]] = {}
    for span in came.spans:
        if span.ended_ns is None and rows.get(span.id, {}).get("ended_ns") is not None:
            continue
        rows[span.id] = {
            "trace": came.trace,
            "id": span.id,
            "parent": span.parent,
            "name": span.name.replace("\0", "\ufffd"),
            "type": None if span.type is None else span.type.replace("\0", "\ufffd"),
            "status": span.status,
            "started_ns": span.started_ns,
            "ended_ns": span.ended_ns,
            "content": content.encode(span),
        }
    return list(rows.values())


def spans_of(connection: Connection, ids: Sequence[str]) -> dict[str, list[Span]]:
    """Read the spans of traces: those without a parent first, then in the order of their start."""
    found: dict[str, list[Span]] = {trace: [] for trace in ids}
    for part in parts(list(found)):
        query = select(spans.c.trace, spans.c.content).where(spans.c.trace.in_(part))
        query = query.order_by(spans.c.trace, spans.c.parent.is_not(None), spans.c.started_ns, spans.c.id)
        for trace, text in connection.execute(query):
            found[trace].append(content.decode(text))
    return found


def details(connection: Connection, rows: Sequence[Trace]) -> list[Trace]:
    """Add tags, metadata and assessments to the rows of traces, in one query each."""
    ids = [row.id for row in rows]
    tags, known = _texts(connection, trace_tags, ids), _texts(connection, trace_metadata, ids)
    judged: dict[str, list[Assessment]] = {trace: [] for trace in ids}
    for part in parts(ids):
        query = select(assessments).where(assessments.c.trace.in_(part))
        for row in connection.execute(query.order_by(assessments.c.created_ms, assessments.c.id)):
            judged[row.trace].append(assessment_of(row))
    return [
        Trace(**trace_columns(row), tags=tags[row.id], metadata=known[row.id], assessments=judged[row.id])
        for row in rows
    ]


def find_traces(connection: Connection, ids: Sequence[str], experiments: Sequence[str] | None = None) -> list[Trace]:
    """Read the traces that there are of these, in the order asked for."""
    found: dict[str, Trace] = {}
    for part in parts(list(dict.fromkeys(ids))):
        query = select(traces).where(traces.c.id.in_(part))
        if experiments is not None:
            query = query.where(traces.c.experiment.in_(experiments))
        found |= {row.id: Trace(*row) for row in connection.execute(query)}
    return details(connection, [found[trace] for trace in dict.fromkeys(ids) if trace in found])


def delete_traces(
    connection: Connection, experiment: str, *, ids: Sequence[str], until_ms: int | None, most: int | None
) -> int:
    """Delete traces of an experiment with all that belongs to them, oldest first; gives how many."""
    doomed = select(traces.c.id).where(traces.c.experiment == experiment)
    if until_ms is not None:
        doomed = doomed.where(traces.c.started_ms <= until_ms)
    if ids:
        doomed = doomed.where(traces.c.id.in_(ids))
    if most is not None:
        doomed = doomed.order_by(traces.c.started_ms, traces.c.id).limit(most)
    # In the order in which spans lock them too: two that want the same traces wait for each other, not crosswise.
    chosen = sorted(connection.execute(doomed).scalars())
    gone = 0
    for part in parts(chosen):
        held = connection.execute(
            select(traces.c.id).where(traces.c.id.in_(part)).order_by(traces.c.id).with_for_update()
        )
        gone += connection.execute(delete(traces).where(traces.c.id.in_(list(held.scalars())))).rowcount
    return gone


def _texts(connection: Connection, table: Table, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {trace: {} for trace in ids}
    for part in parts(ids):
        query = select(table.c.trace, table.c.key, table.c.value).where(table.c.trace.in_(part)).order_by(table.c.key)
        for trace, key, value in connection.execute(query):
            found[trace][key] = value
    return found


# Assessments


def write_assessments(connection: Connection, judged: Sequence[Assessment], *, replace: bool = True) -> None:
    """Write assessments: each once by its id."""
    write(connection, assessments, [_assessment_row(one) for one in judged], replace=replace)


def find_assessment(connection: Connection, trace: str, id: str) -> Assessment | None:
    """Find an assessment of a trace."""
    mine = and_(assessments.c.trace == trace, assessments.c.id == id)
    row = connection.execute(select(assessments).where(mine)).first()
    return None if row is None else assessment_of(row)


def set_validity(connection: Connection, trace: str, id: str, valid: bool) -> bool:
    """Say whether an assessment holds, and tell whether it is there."""
    mine = and_(assessments.c.trace == trace, assessments.c.id == id)
    return connection.execute(update(assessments).where(mine).values(valid=valid)).rowcount > 0


def delete_assessment(connection: Connection, id: str) -> None:
    """Delete an assessment."""
    connection.execute(delete(assessments).where(assessments.c.id == id))


def assessment_of(row: Row[Any]) -> Assessment:
    """Make an assessment of its row."""
    return Assessment(**{name: row._mapping[name] for name in Assessment.__struct_fields__})


def _assessment_row(one: Assessment) -> dict[str, Any]:
    value = one.value
    number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MOST_NUMBER
    row = {name: getattr(one, name) for name in Assessment.__struct_fields__}
    return row | {"number": float(value) if number else None}
