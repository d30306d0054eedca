"""The tables of rollouts and their looks, and the SQL."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Column, Connection, ForeignKey, Index, Integer, Row, Table, Text, select

from mainspring.core.errors import NotFound
from mainspring.rollouts.model import Look, Progress, Rollout, RolloutPolicy
from mainspring.storage.sql.schema import Instant, Packed, metadata, upsert

rollouts = Table(
    "rollouts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("endpoint", Text, nullable=False),
    Column("candidate", Text, nullable=False),
    Column("policy", Packed(RolloutPolicy), nullable=False),
    Column("status", Text, nullable=False),
    Column("progress", Packed(Progress), nullable=False),
    Column("started", Instant, nullable=False),
    Column("ended", Instant),
    Column("release", Text),
    Column("stable", Text),
    Column("pending", Text),
    Column("reason", Text, nullable=False),
    Column("active", Text, unique=True),  # The endpoint while the rollout goes on: one at a time.
    Column("token", Text, unique=True),
    Index("ix_rollouts_endpoint", "endpoint", "id"),
)

looks = Table(
    "rollout_looks",
    metadata,
    Column("rollout", Text, ForeignKey("rollouts.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("look", Packed(Look), nullable=False),
)

_FIELDS = Rollout.__struct_fields__


def insert_rollout(connection: Connection, rollout: Rollout, token: str | None) -> bool:
    """Insert a rollout, and tell whether its endpoint had none that goes on."""
    row = {**_row(rollout), "token": token}
    return upsert(connection, rollouts, row, keys=["active"], update=[]) == 1


def update_rollout(connection: Connection, rollout: Rollout) -> None:
    """Record where the rollout is now."""
    connection.execute(rollouts.update().where(rollouts.c.id == rollout.id).values(_row(rollout)))


def lock_rollout(connection: Connection, rollout: str) -> Rollout:
    """Find a rollout; nobody else changes it until this transaction ends. Raises NotFound."""
    row = connection.execute(select(rollouts).where(rollouts.c.id == rollout).with_for_update()).first()
    if row is None:
        raise NotFound(f"no rollout {rollout!r}", rollout=rollout)
    return _rollout(row)


def find_by_token(connection: Connection, token: str) -> Rollout | None:
    """Find the rollout that was started with this token."""
    row = connection.execute(select(rollouts).where(rollouts.c.token == token)).first()
    return None if row is None else _rollout(row)


def find_latest(connection: Connection, endpoint: str) -> Rollout:
    """Find the rollout of the endpoint that goes on, or the last one; raises NotFound."""
    found = find_rollouts(connection, endpoint, 1)
    if not found:
        raise NotFound(f"endpoint {endpoint} has had no rollout", endpoint=endpoint)
    return found[0]


def find_rollouts(connection: Connection, endpoint: str, limit: int) -> list[Rollout]:
    """List the rollouts of an endpoint, the newest first."""
    query = select(rollouts).where(rollouts.c.endpoint == endpoint).order_by(rollouts.c.id.desc()).limit(limit)
    return [_rollout(row) for row in connection.execute(query)]


def find_active(connection: Connection) -> list[Rollout]:
    """List the rollouts that go on, the oldest first."""
    query = select(rollouts).where(rollouts.c.active.is_not(None)).order_by(rollouts.c.id)
    return [_rollout(row) for row in connection.execute(query)]


def insert_look(connection: Connection, rollout: str, look: Look) -> None:
    """Record a look."""
    connection.execute(looks.insert(), {"rollout": rollout, "number": look.number, "look": look})


def find_looks(connection: Connection, rollout: str) -> list[Look]:
    """List the looks at a rollout, the first first."""
    query = select(looks.c.look).where(looks.c.rollout == rollout).order_by(looks.c.number)
    return list(connection.execute(query).scalars())


def _row(rollout: Rollout) -> dict[str, Any]:
    row = {name: getattr(rollout, name) for name in _FIELDS}
    return row | {"active": rollout.endpoint if rollout.active else None}


def _rollout(row: Row[Any]) -> Rollout:
    return msgspec.convert({name: getattr(row, name) for name in _FIELDS}, Rollout, from_attributes=True)
