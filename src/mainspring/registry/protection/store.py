"""Where policies, protections, requests and recorded checks are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Boolean, Column, Float, Index, Integer, Row, Table, Text, delete, select, update
from sqlalchemy import Connection as Connection

from mainspring.registry.protection.model import (
    NamedPolicy,
    PolicyContent,
    PromotionRequest,
    Protection,
    RecordedCheck,
    RequestStatus,
    Vote,
)
from mainspring.storage.sql.schema import Identity64, Instant, Packed, metadata, upsert

gate_policies = Table(
    "gate_policies",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("content", Packed(PolicyContent), nullable=False),
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
)

alias_protections = Table(
    "alias_protections",
    metadata,
    Column("name", Text, primary_key=True),
    Column("alias", Text, primary_key=True),
    Column("gates", Text),
    Column("approvals", Integer, nullable=False),
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
)

promotion_requests = Table(
    "promotion_requests",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("alias", Text, nullable=False),
    Column("promotes", Boolean, nullable=False),
    Column("status", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("reason", Text, nullable=False),
    Index("ix_promotion_requests_status", "status", "name", "id"),
)

promotion_votes = Table(
    "promotion_votes",
    metadata,
    Column("request", Text, primary_key=True),
    Column("actor", Text, primary_key=True),
    Column("approved", Boolean, nullable=False),
    Column("at", Instant, nullable=False),
    Column("comment", Text, nullable=False),
)

model_checks = Table(
    "model_checks",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("suite", Text, nullable=False),
    Column("passed", Boolean, nullable=False),
    Column("detail", Text, nullable=False),
    Column("value", Float),
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
    Index("ix_model_checks_name", "name", "version", "suite", "id"),
)


# Policies and protections ---------------------------------------------------------------------------------------------


def add_policy(connection: Connection, policy: NamedPolicy) -> bool:
    """Add a version of a policy; False when another has its number already."""
    row = {name: getattr(policy, name) for name in policy.__struct_fields__}
    return upsert(connection, gate_policies, row, keys=["name", "version"], update=[]) == 1


def find_policy(connection: Connection, name: str, version: int | None) -> NamedPolicy | None:
    """Find a version of a policy, or its latest."""
    query = select(gate_policies).where(gate_policies.c.name == name)
    if version is not None:
        query = query.where(gate_policies.c.version == version)
    row = connection.execute(query.order_by(gate_policies.c.version.desc()).limit(1)).first()
    return None if row is None else NamedPolicy(**row._mapping)


def list_policies(connection: Connection, limit: int) -> list[NamedPolicy]:
    """List every version of every policy, the newest of each first."""
    query = select(gate_policies).order_by(gate_policies.c.name, gate_policies.c.version.desc()).limit(limit)
    return [NamedPolicy(**row._mapping) for row in connection.execute(query)]


def protect(connection: Connection, protection: Protection) -> None:
    """Protect an alias, in place of how it was protected."""
    row = {name: getattr(protection, name) for name in protection.__struct_fields__}
    upsert(connection, alias_protections, row, keys=["name", "alias"])


def unprotect(connection: Connection, name: str, alias: str) -> bool:
    """Protect an alias no more; False when it was not."""
    c = alias_protections.c
    return connection.execute(delete(alias_protections).where((c.name == name) & (c.alias == alias))).rowcount == 1


def protections_of(connection: Connection, name: str) -> list[Protection]:
    """List the protected aliases of a model."""
    c = alias_protections.c
    query = select(alias_protections).where(c.name == name).order_by(c.alias)
    return [Protection(**row._mapping) for row in connection.execute(query)]


def protection_of(connection: Connection, name: str, alias: str) -> Protection | None:
    """Find how an alias is protected."""
    return next((one for one in protections_of(connection, name) if one.alias == alias), None)


# Requests -------------------------------------------------------------------------------------------------------------


def add_request(connection: Connection, request: PromotionRequest) -> None:
    """Add a request."""
    names = [column.name for column in promotion_requests.c]
    connection.execute(promotion_requests.insert(), {name: getattr(request, name) for name in names})


def pending_request(connection: Connection, name: str, version: int, alias: str) -> PromotionRequest | None:
    """Find the request that waits for this version to come under this alias."""
    c = promotion_requests.c
    where = (c.status == "pending") & (c.name == name) & (c.version == version) & (c.alias == alias)
    found = _requests(connection, connection.execute(select(promotion_requests).where(where)).all())
    return found[0] if found else None


def get_request(connection: Connection, id: str) -> PromotionRequest:
    """Get a request that is there."""
    rows = connection.execute(select(promotion_requests).where(promotion_requests.c.id == id)).all()
    return _requests(connection, rows)[0]


def list_requests(
    connection: Connection, name: str | None, status: RequestStatus | None, limit: int
) -> list[PromotionRequest]:
    """List requests, the newest first."""
    c = promotion_requests.c
    query = select(promotion_requests).order_by(c.id.desc()).limit(limit)
    if status is not None:
        query = query.where(c.status == status)
    if name is not None:
        query = query.where(c.name == name)
    return _requests(connection, connection.execute(query).all())


def set_status(connection: Connection, request: PromotionRequest, status: RequestStatus) -> None:
    """Bring a request to another status."""
    where = promotion_requests.c.id == request.id
    connection.execute(update(promotion_requests).where(where).values(status=status))


def vote(connection: Connection, request: PromotionRequest, said: Vote) -> None:
    """Keep what somebody said, in place of what they said before."""
    row = {"request": request.id, **{name: getattr(said, name) for name in said.__struct_fields__}}
    upsert(connection, promotion_votes, row, keys=["request", "actor"])


def _requests(connection: Connection, rows: Sequence[Row[Any]]) -> list[PromotionRequest]:
    votes: dict[str, list[Vote]] = {row.id: [] for row in rows}
    c = promotion_votes.c
    query = select(promotion_votes).where(c.request.in_(list(votes))).order_by(c.at)
    for row in connection.execute(query):
        votes[row.request].append(Vote(actor=row.actor, approved=row.approved, at=row.at, comment=row.comment))
    return [PromotionRequest(**row._mapping, votes=votes[row.id]) for row in rows]


# Checks ---------------------------------------------------------------------------------------------------------------


def add_check(connection: Connection, name: str, version: int, check: RecordedCheck) -> None:
    """Keep what a suite found."""
    row = {"name": name, "version": version, **{field: getattr(check, field) for field in check.__struct_fields__}}
    connection.execute(model_checks.insert(), row)


def latest_checks(connection: Connection, name: str, version: int) -> dict[str, RecordedCheck]:
    """Give what each suite found last for a version."""
    c = model_checks.c
    query = select(c.suite, c.passed, c.detail, c.value, c.at, c.actor).where((c.name == name) & (c.version == version))
    return {row.suite: RecordedCheck(**row._mapping) for row in connection.execute(query.order_by(c.id))}
