"""Where policies and firings are kept."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, Connection, Index, Table, Text, func, select, update

from mainspring.storage.sql.schema import Instant, Packed, metadata, upsert
from mainspring.triggers.model import Firing, FiringStatus, Policy

trigger_policies = Table(
    "trigger_policies",
    metadata,
    Column("endpoint", Text, primary_key=True),
    Column("policy", Packed(Policy), nullable=False),
    Column("since", Instant, nullable=False),
)

trigger_firings = Table(
    "trigger_firings",
    metadata,
    Column("id", Text, primary_key=True),
    Column("endpoint", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("release", Text),
    Column("token", Text, unique=True),
    Column("firing", Packed(Firing), nullable=False),
    Index("ix_trigger_firings_endpoint", "endpoint", "id"),
    Index("ix_trigger_firings_status", "status"),
)


def set_policy(connection: Connection, endpoint: str, policy: Policy, since: datetime) -> None:
    """Keep the policy of an endpoint."""
    row = {"endpoint": endpoint, "policy": policy, "since": since}
    upsert(connection, trigger_policies, row, keys=["endpoint"])


def policy(connection: Connection, endpoint: str, *, lock: bool = False) -> tuple[Policy, datetime] | None:
    """Give the policy of an endpoint and when it was set; with *lock*, nobody else decides on it meanwhile."""
    table = trigger_policies
    query = select(table.c.policy, table.c.since).where(table.c.endpoint == endpoint)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return None if row is None else (row.policy, row.since)


def endpoints(connection: Connection) -> list[str]:
    """List the endpoints that have a policy."""
    query = select(trigger_policies.c.endpoint).order_by(trigger_policies.c.endpoint)
    return list(connection.execute(query).scalars())


def insert(connection: Connection, firing: Firing, token: str | None) -> None:
    """Keep a firing."""
    connection.execute(
        trigger_firings.insert(),
        {
            "id": firing.id,
            "endpoint": firing.endpoint,
            "status": firing.status,
            "release": firing.release,
            "token": token,
            "firing": firing,
        },
    )


def change(connection: Connection, firing: Firing, expected: FiringStatus) -> bool:
    """Replace a firing that still has the status *expected*; tells whether it had."""
    table = trigger_firings
    where = (table.c.id == firing.id) & (table.c.status == expected)
    done = connection.execute(update(table).where(where).values(status=firing.status, firing=firing))
    return done.rowcount == 1


def by_id(connection: Connection, id: str) -> Firing | None:
    """Give one firing."""
    return connection.execute(select(trigger_firings.c.firing).where(trigger_firings.c.id == id)).scalar_one_or_none()


def by_token(connection: Connection, token: str) -> Firing | None:
    """Give the firing that was asked for with this token."""
    query = select(trigger_firings.c.firing).where(trigger_firings.c.token == token)
    return connection.execute(query).scalar_one_or_none()


def latest(connection: Connection, endpoint: str, limit: int = 1) -> list[Firing]:
    """List the newest firings of an endpoint first."""
    table = trigger_firings
    query = select(table.c.firing).where(table.c.endpoint == endpoint).order_by(table.c.id.desc()).limit(limit)
    return list(connection.execute(query).scalars())


def count_on(connection: Connection, endpoint: str, release: str | None) -> int:
    """Count the firings on one release of an endpoint."""
    table = trigger_firings
    same = table.c.release.is_(None) if release is None else table.c.release == release
    query = select(func.count()).where(table.c.endpoint == endpoint, same)
    return int(connection.execute(query).scalar_one())


def due(connection: Connection) -> list[Firing]:
    """List the firings whose pipeline is to be started, the oldest first."""
    table = trigger_firings
    query = select(table.c.firing).where(table.c.status == "due").order_by(table.c.id)
    return list(connection.execute(query).scalars())
