"""Durable timers: when each is due, who fires it now, and how it went."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Column, Connection, Index, Integer, Row, Table, Text, delete, or_, select, update

from mainspring.core.errors import InvalidRequest
from mainspring.runtime.cron import parse_cron
from mainspring.runtime.presence import Process
from mainspring.storage.sql.schema import Instant, Packed, metadata, upsert


class Every(msgspec.Struct, frozen=True, tag="every"):
    """Again and again after so many seconds, counted from when the timer was set."""

    seconds: float


class Cron(msgspec.Struct, frozen=True, tag="cron"):
    """At the times of a cron expression, in UTC."""

    expression: str


class At(msgspec.Struct, frozen=True, tag="at"):
    """Once, at this moment."""

    at: datetime


Schedule = Every | Cron | At

timers = Table(
    "timers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("schedule", Packed(Schedule), nullable=False),
    Column("payload", Packed()),
    Column("next_at", Instant),
    Column("retry_at", Instant),
    Column("last_at", Instant),
    Column("attempts", Integer, nullable=False),
    Column("error", Text),
    Column("fence", Integer, nullable=False),
    Column("owner_process", Packed(Process)),
    Column("lease_until", Instant),
    Index("ix_timers_next_at", "next_at"),
)


class Timer(msgspec.Struct, frozen=True, kw_only=True):
    """A timer. It is due at ``next_at`` (None: never again); ``last_at`` is the due time that was fired last.

    ``kind`` says which handler it fires. ``fence`` grows with each claim: an older one may not write any more.
    """

    name: str
    kind: str
    schedule: Schedule
    payload: Any
    next_at: datetime | None
    retry_at: datetime | None = None
    last_at: datetime | None = None
    attempts: int = 0
    error: str | None = None
    fence: int = 0
    owner_process: Process | None = None
    lease_until: datetime | None = None


def first_time(schedule: Schedule, now: datetime) -> datetime:
    """Give when a timer that is set now is due first. Raises InvalidRequest for a schedule that cannot be."""
    if isinstance(schedule, At):
        if schedule.at.tzinfo is None:
            raise InvalidRequest(f"{schedule.at} has no time zone: write it with an offset, such as +00:00")
        return schedule.at
    if isinstance(schedule, Cron):
        return parse_cron(schedule.expression).after(now)
    if not 0 < schedule.seconds <= 10 * 366 * 86_400:
        raise InvalidRequest(f"an interval of {schedule.seconds} s: expected more than 0 s and at most ten years")
    return now + timedelta(seconds=schedule.seconds)


def next_time(schedule: Schedule, due: datetime, now: datetime) -> datetime | None:
    """Give when a timer that was due at *due* is due after *now*: what was missed in between is left out."""
    if isinstance(schedule, At):
        return None
    if isinstance(schedule, Cron):
        return parse_cron(schedule.expression).after(max(due, now))
    steps = max(math.floor((now - due).total_seconds() / schedule.seconds) + 1, 1)
    return due + timedelta(seconds=steps * schedule.seconds)


def set_timer(
    connection: Connection, name: str, *, kind: str, schedule: Schedule, payload: Any, now: datetime
) -> Timer:
    """Set the timer, in the caller's transaction. One of the same schedule goes on as it stands, with this payload."""
    known = find_timer(connection, name)
    if known is not None and known.schedule == schedule:
        connection.execute(update(timers).where(timers.c.name == name).values(kind=kind, payload=payload))
        return msgspec.structs.replace(known, kind=kind, payload=payload)
    fence = known.fence + 1 if known else 0
    timer = Timer(
        name=name, kind=kind, schedule=schedule, payload=payload, next_at=first_time(schedule, now), fence=fence
    )
    upsert(connection, timers, _values(timer), keys=["name"])
    return timer


def cancel_timer(connection: Connection, name: str) -> bool:
    """Delete the timer; gives False when there is none. A firing that runs now is not interrupted."""
    return connection.execute(delete(timers).where(timers.c.name == name)).rowcount == 1


def find_timer(connection: Connection, name: str) -> Timer | None:
    """Give the timer of this name, if there is one."""
    row = connection.execute(select(timers).where(timers.c.name == name)).one_or_none()
    return None if row is None else _timer(row)


def list_timers(connection: Connection) -> list[Timer]:
    """List all timers by name."""
    return [_timer(row) for row in connection.execute(select(timers).order_by(timers.c.name))]


def due_timers(connection: Connection, kinds: Sequence[str], now: datetime, *, limit: int = 100) -> list[Timer]:
    """List the timers of these kinds that are due, the longest overdue first, held by somebody or not."""
    query = (
        select(timers)
        .where(timers.c.next_at <= now, timers.c.kind.in_(kinds))
        .where(or_(timers.c.retry_at.is_(None), timers.c.retry_at <= now))
        .order_by(timers.c.next_at, timers.c.name)
        .limit(limit)
    )
    return [_timer(row) for row in connection.execute(query)]


def claim(connection: Connection, timer: Timer, *, process: Process, until: datetime) -> Timer | None:
    """Take the firing over; gives the timer with its new fence, None when somebody else was faster."""
    values = {"fence": timer.fence + 1, "owner_process": process, "lease_until": until}
    if not _change(connection, timer, **values):
        return None
    return msgspec.structs.replace(timer, **values)


def renew(connection: Connection, timer: Timer, until: datetime) -> bool:
    """Keep the firing; gives False when it is somebody else's by now."""
    return _change(connection, timer, lease_until=until)


def settle(
    connection: Connection,
    timer: Timer,
    *,
    next_at: datetime | None,
    last_at: datetime | None,
    attempts: int = 0,
    retry_at: datetime | None = None,
    error: str | None = None,
) -> bool:
    """Write down how the firing went and give it free; gives False when it is somebody else's by now."""
    return _change(
        connection,
        timer,
        next_at=next_at,
        last_at=last_at,
        attempts=attempts,
        retry_at=retry_at,
        error=error,
        owner_process=None,
        lease_until=None,
    )


def _change(connection: Connection, timer: Timer, **values: Any) -> bool:
    mine = (timers.c.name == timer.name, timers.c.fence == timer.fence)
    return connection.execute(update(timers).where(*mine).values(**values)).rowcount == 1


def _values(timer: Timer) -> dict[str, Any]:
    return {name: getattr(timer, name) for name in timer.__struct_fields__}


def _timer(row: Row[Any]) -> Timer:
    return Timer(**row._mapping)
