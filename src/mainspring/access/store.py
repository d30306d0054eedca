"""Where users, tokens and permissions are kept."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, Column, Index, Row, Table, Text, UniqueConstraint, delete, func, select, update
from sqlalchemy import Connection as Connection

from mainspring.access.model import Grant, Kind, Permission, Token, User
from mainspring.core.errors import NotFound
from mainspring.storage.sql.schema import Identity64, Instant, metadata, upsert

users = Table(
    "access_users",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("name", Text, nullable=False),
    Column("password", Text, nullable=False),
    Column("admin", Boolean, nullable=False),
    Column("created", Instant, nullable=False),
    Column("updated", Instant, nullable=False),
    UniqueConstraint("name"),
    # An id is not given again: tokens and permissions name users by it.
    sqlite_autoincrement=True,
)

grants = Table(
    "access_grants",
    metadata,
    Column("user", Identity64, primary_key=True, autoincrement=False),
    Column("kind", Text, primary_key=True),
    Column("resource", Text, primary_key=True),
    Column("permission", Text, nullable=False),
    Index("ix_access_grants_resource", "kind", "resource"),
)

tokens = Table(
    "access_tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user", Identity64, nullable=False),
    Column("name", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("created", Instant, nullable=False),
    Column("expires", Instant),
    UniqueConstraint("digest"),
    Index("ix_access_tokens_user", "user"),
)


# Users ----------------------------------------------------------------------------------------------------------------


def insert_user(connection: Connection, name: str, password: str, admin: bool, now: datetime) -> bool:
    """Add a user; False when there is one of the name."""
    row = {"name": name, "password": password, "admin": admin, "created": now, "updated": now}
    return upsert(connection, users, row, keys=["name"], update=[]) == 1


def find_user(connection: Connection, name: str) -> tuple[User, str] | None:
    """Find a user with what is kept of the password."""
    row = connection.execute(select(users).where(users.c.name == name)).first()
    return None if row is None else (_user(row), row.password)


def require_user(connection: Connection, name: str) -> User:
    """Get a user; raises NotFound."""
    found = find_user(connection, name)
    if found is None:
        raise NotFound(f"User with username={name} not found", user=name)
    return found[0]


def every_user(connection: Connection) -> list[User]:
    """List the users by name."""
    return [_user(row) for row in connection.execute(select(users).order_by(users.c.name))]


def count_admins(connection: Connection) -> int:
    """Count the admins."""
    return int(connection.execute(select(func.count()).select_from(users).where(users.c.admin)).scalar_one())


def change_user(connection: Connection, user: User, values: dict[str, Any]) -> None:
    """Change columns of a user."""
    connection.execute(update(users).where(users.c.id == user.id).values(**values))


def remove_user(connection: Connection, user: User) -> None:
    """Delete a user with tokens and permissions."""
    connection.execute(delete(tokens).where(tokens.c.user == user.id))
    connection.execute(delete(grants).where(grants.c.user == user.id))
    connection.execute(delete(users).where(users.c.id == user.id))


def _user(row: Row[Any]) -> User:
    return User(id=row.id, name=row.name, admin=row.admin, created=row.created, updated=row.updated)


# Permissions ----------------------------------------------------------------------------------------------------------


def set_grant(connection: Connection, user: User, kind: Kind, resource: str, permission: Permission) -> None:
    """Give a permission, in place of the one before."""
    row = {"user": user.id, "kind": kind, "resource": resource, "permission": permission}
    upsert(connection, grants, row, keys=["user", "kind", "resource"])


def find_grant(connection: Connection, user: User, kind: Kind, resource: str) -> Permission | None:
    """Find the permission that a user was given on a thing."""
    c = grants.c
    which = (c.user == user.id) & (c.kind == kind) & (c.resource == resource)
    return connection.execute(select(c.permission).where(which)).scalar()


def grants_of(connection: Connection, user: User) -> list[Grant]:
    """List the permissions that a user was given."""
    c = grants.c
    query = select(c.kind, c.resource, c.permission).where(c.user == user.id).order_by(c.kind, c.resource)
    return [Grant(*row) for row in connection.execute(query)]


def remove_grant(connection: Connection, user: User, kind: Kind, resource: str) -> bool:
    """Take a permission away; False when there is none."""
    c = grants.c
    which = (c.user == user.id) & (c.kind == kind) & (c.resource == resource)
    return connection.execute(delete(grants).where(which)).rowcount == 1


def forget_resource(connection: Connection, kind: Kind, resource: str) -> None:
    """Take away everybody's permissions on a thing that is gone."""
    connection.execute(delete(grants).where((grants.c.kind == kind) & (grants.c.resource == resource)))


def rename_resource(connection: Connection, kind: Kind, resource: str, to: str) -> None:
    """Let everybody's permissions follow a thing to its other name."""
    which = (grants.c.kind == kind) & (grants.c.resource == resource)
    connection.execute(update(grants).where(which).values(resource=to))


# Tokens ---------------------------------------------------------------------------------------------------------------


def insert_token(connection: Connection, token: Token, user: User, digest: str) -> None:
    """Add a token."""
    row = {"id": token.id, "user": user.id, "name": token.name, "digest": digest}
    connection.execute(tokens.insert(), {**row, "created": token.created, "expires": token.expires})


def user_of_token(connection: Connection, digest: str, now: datetime) -> User | None:
    """Find whose token this is, unless it has expired."""
    valid = (tokens.c.digest == digest) & (tokens.c.expires.is_(None) | (tokens.c.expires > now))
    row = connection.execute(select(users).join(tokens, tokens.c.user == users.c.id).where(valid)).first()
    return None if row is None else _user(row)


def tokens_of(connection: Connection, user: User) -> list[Token]:
    """List the tokens of a user, newest first."""
    c = tokens.c
    query = select(c.id, c.name, c.created, c.expires).where(c.user == user.id).order_by(c.id.desc())
    return [
        Token(id=row.id, user=user.name, name=row.name, created=row.created, expires=row.expires)
        for row in connection.execute(query)
    ]


def remove_token(connection: Connection, user: User, id: str) -> bool:
    """Delete a token of a user; False when there is none."""
    return connection.execute(delete(tokens).where((tokens.c.user == user.id) & (tokens.c.id == id))).rowcount == 1
