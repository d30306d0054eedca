"""The journal: every event, who caused it, and the lineage that it drew, written in the caller's transaction."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy import Column, Connection, Index, Row, Table, Text, select

from mainspring.core.actor import current_actor
from mainspring.core.events import Edge, Event, Recorded
from mainspring.storage.sql.schema import Identity64, Instant, Packed, metadata
from mainspring.storage.sql.statements import Statement

events = Table(
    "events",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("body", Packed(), nullable=False),
    Column("reads", Packed(list[str]), nullable=False),
    Column("makes", Packed(list[str]), nullable=False),
    Index("ix_events_kind", "kind", "id"),
    sqlite_autoincrement=True,
)

lineage = Table(
    "lineage",
    metadata,
    Column("source", Text, primary_key=True),
    Column("target", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("event", Identity64, nullable=False),
    Index("ix_lineage_target", "target"),
)

event_refs = Table(  # Every ref that an event names; lineage keeps an edge once, however often it is drawn again.
    "event_refs",
    metadata,
    Column("ref", Text, primary_key=True),
    Column("event", Identity64, primary_key=True, autoincrement=False),
)

# Nearly every change emits, so these go to the driver itself.
_INSERT_EVENT = Statement(
    "INSERT INTO events (kind, at, actor, origin, body, reads, makes) VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id"
)
_INSERT_REF = Statement("INSERT INTO event_refs (ref, event) VALUES (?, ?)")
_INSERT_EDGE = Statement(
    "INSERT INTO lineage (source, target, kind, event) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (source, target, kind) DO NOTHING"
)
_TAKE_TURN = Statement("SELECT pg_advisory_xact_lock(?)")
_EMIT_LOCK = 0x6D61696E  # any constant that every Mainspring process on this database shares


def emit(connection: Connection, event: Event) -> int:
    """Write the event and its lineage in the caller's transaction: both happen, or neither. Gives the event's number.

    Numbers are given in the order of the commits (PostgreSQL: emitters take turns until they commit; SQLite has one
    writer anyhow), so whoever has read up to a number has missed nothing before it. Emit last in a transaction.
    """
    if connection.dialect.name == "postgresql":
        _TAKE_TURN.rows(connection, [_EMIT_LOCK])
    actor = current_actor()
    reads, makes = event.reads(), event.makes()
    row = (
        event.kind,
        time.time_ns() // 1000,
        actor.name,
        actor.origin,
        *(msgspec.json.encode(part).decode() for part in (event, reads, makes)),
    )
    found = _INSERT_EVENT.first(connection, row)
    number: int = found[0] if found else 0
    _INSERT_REF.run_many(connection, [(ref, number) for ref in dict.fromkeys([*reads, *makes])])
    edges = [
        (source, target, event.kind, number)
        for source in dict.fromkeys(reads)
        for target in dict.fromkeys(makes)
        if source != target
    ]
    if edges:
        _INSERT_EDGE.run_many(connection, edges)
    return number


def read_events(
    connection: Connection, *, after: int = 0, kinds: Sequence[str] | None = None, limit: int = 1000
) -> list[Recorded]:
    """List events with a number greater than *after*, oldest first."""
    query = select(events).where(events.c.id > after).order_by(events.c.id).limit(limit)
    if kinds is not None:
        query = query.where(events.c.kind.in_(kinds))
    return [recorded(row) for row in connection.execute(query)]


def latest_events(
    connection: Connection, *, ref: str | None = None, kind: str | None = None, limit: int = 100
) -> list[Recorded]:
    """List the newest events first; *ref* keeps those that read or made it."""
    query = select(events).order_by(events.c.id.desc()).limit(limit)
    if kind is not None:
        query = query.where(events.c.kind == kind)
    if ref is not None:
        query = query.join(event_refs, event_refs.c.event == events.c.id).where(event_refs.c.ref == ref)
    return [recorded(row) for row in connection.execute(query)]


def edges_up(connection: Connection, targets: Iterable[str]) -> list[Edge]:
    """List the edges that end in *targets*: what they were made from."""
    return _edges(connection, lineage.c.target.in_(list(targets)))


def edges_down(connection: Connection, sources: Iterable[str]) -> list[Edge]:
    """List the edges that begin in *sources*: what was made from them."""
    return _edges(connection, lineage.c.source.in_(list(sources)))


def _edges(connection: Connection, where: object) -> list[Edge]:
    query = select(lineage.c.source, lineage.c.kind, lineage.c.target).where(where).order_by(lineage.c.event)  # type: ignore[arg-type]
    return [Edge(source, kind, target) for source, kind, target in connection.execute(query)]


def recorded(row: Row[tuple[object, ...]]) -> Recorded:
    """Make an event of a row of its table."""
    value = row._mapping
    return Recorded(
        id=value["id"],
        kind=value["kind"],
        at=value["at"].isoformat(),
        actor=value["actor"],
        origin=value["origin"],
        body=value["body"],
        reads=value["reads"],
        makes=value["makes"],
    )
