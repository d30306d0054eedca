"""Where each subscriber of the outbox stands: its position, its failures, who delivers to it, its dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Column, Connection, Integer, Row, Table, Text, func, select, update

from mainspring.runtime.presence import Process
from mainspring.storage.sql.journal import events
from mainspring.storage.sql.schema import Identity64, Instant, Packed, metadata, upsert

subscribers = Table(
    "outbox_subscribers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("position", Identity64, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("retry_at", Instant),
    Column("error", Text),
    Column("owner", Text),
    Column("owner_process", Packed(Process)),
    Column("lease_until", Instant),
)

dead_letters = Table(
    "outbox_dead_letters",
    metadata,
    Column("subscriber", Text, primary_key=True),
    Column("event", Identity64, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("error", Text, nullable=False),
    Column("at", Instant, nullable=False),
)


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where one subscriber stands: everything up to event ``position`` was delivered or given up."""

    name: str
    position: int
    attempts: int = 0
    retry_at: datetime | None = None
    error: str | None = None
    owner: str | None = None
    owner_process: Process | None = None
    lease_until: datetime | None = None


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """An event that a subscriber failed to take after every attempt."""

    subscriber: str
    event: int
    kind: str
    attempts: int
    error: str
    at: datetime


def newest_event(connection: Connection) -> int:
    """Give the number of the newest event, 0 when there is none."""
    return int(connection.execute(select(func.coalesce(func.max(events.c.id), 0))).scalar_one())


def count_events(connection: Connection, *, after: int, kinds: Sequence[str] | None) -> int:
    """Count the events of these kinds with a number greater than *after*."""
    query = select(func.count()).select_from(events).where(events.c.id > after)
    if kinds is not None:
        query = query.where(events.c.kind.in_(kinds))
    return int(connection.execute(query).scalar_one())


def enrol(connection: Connection, name: str, position: int) -> None:
    """Make the subscriber known from *position* on; leaves one that is known as it is."""
    row = {"name": name, "position": position, "attempts": 0}
    upsert(connection, subscribers, row, keys=["name"], update=[])


def standing(connection: Connection, name: str) -> Standing:
    """Give where a subscriber stands that was enrolled."""
    return _standing(connection.execute(select(subscribers).where(subscribers.c.name == name)).one())


def take(connection: Connection, seen: Standing, *, owner: str, process: Process, until: datetime) -> bool:
    """Take the delivery over, unless somebody else did since *seen* was read."""
    unchanged = (
        subscribers.c.name == seen.name,
        subscribers.c.owner.is_not_distinct_from(seen.owner),
        subscribers.c.lease_until.is_not_distinct_from(seen.lease_until),
    )
    values = {"owner": owner, "owner_process": process, "lease_until": until}
    return connection.execute(update(subscribers).where(*unchanged).values(values)).rowcount == 1


def renew(connection: Connection, names: Sequence[str], *, owner: str, until: datetime) -> None:
    """Keep the delivery to these subscribers, where it is still the owner's."""
    mine = (subscribers.c.name.in_(names), subscribers.c.owner == owner)
    connection.execute(update(subscribers).where(*mine).values(lease_until=until))


def give_up(connection: Connection, owner: str) -> None:
    """Let others deliver what this owner did."""
    free = {"owner": None, "owner_process": None, "lease_until": None}
    connection.execute(update(subscribers).where(subscribers.c.owner == owner).values(free))


def advance(connection: Connection, name: str, position: int, *, owner: str) -> bool:
    """Move the position on after a delivery; gives False when somebody else delivers by now."""
    return _change(connection, name, owner, position=position, attempts=0, retry_at=None, error=None)


def note_failure(
    connection: Connection, name: str, *, owner: str, attempts: int, retry_at: datetime, error: str
) -> bool:
    """Write down that an attempt failed; gives False when somebody else delivers by now."""
    return _change(connection, name, owner, attempts=attempts, retry_at=retry_at, error=error)


def bury(connection: Connection, letter: DeadLetter) -> None:
    """Write the dead letter down."""
    upsert(
        connection, dead_letters, msgspec.to_builtins(letter, builtin_types=(datetime,)), keys=["subscriber", "event"]
    )


def list_dead_letters(connection: Connection, subscriber: str | None = None, *, limit: int = 100) -> list[DeadLetter]:
    """List dead letters, newest first."""
    query = select(dead_letters).order_by(dead_letters.c.at.desc(), dead_letters.c.event.desc()).limit(limit)
    if subscriber is not None:
        query = query.where(dead_letters.c.subscriber == subscriber)
    return [DeadLetter(**row._mapping) for row in connection.execute(query)]


def count_dead_letters(connection: Connection, subscriber: str) -> int:
    """Count what this subscriber failed to take."""
    query = select(func.count()).select_from(dead_letters).where(dead_letters.c.subscriber == subscriber)
    return int(connection.execute(query).scalar_one())


def _change(connection: Connection, name: str, owner: str, **values: Any) -> bool:
    mine = (subscribers.c.name == name, subscribers.c.owner == owner)
    return connection.execute(update(subscribers).where(*mine).values(**values)).rowcount == 1


def _standing(row: Row[Any]) -> Standing:
    return Standing(**row._mapping)
