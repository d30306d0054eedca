"""The rows about feature views: their versions and materialisations."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, Connection, Index, Integer, Row, Table, Text, select

from mainspring.features.model import Feature, FeatureView, Materialisation
from mainspring.storage.sql.schema import Instant, Packed, metadata, upsert

views = Table(
    "feature_views",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("dataset", Text, nullable=False),
    Column("keys", Packed(list[str]), nullable=False),
    Column("time_column", Text, nullable=False),
    Column("features", Packed(list[Feature]), nullable=False),
    Column("max_age", Text, nullable=True),
    Column("created", Instant, nullable=False),
    Column("token", Text, nullable=True, unique=True),
)

materialisations = Table(
    "feature_materialisations",
    metadata,
    Column("view", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("until", Instant, primary_key=True),
    Column("dataset", Text, nullable=False),
    Column("keys", BigInteger, nullable=False),
    Column("created", Instant, nullable=False),
    Index("ix_feature_materialisations_created", "created"),
)

_FIELDS = [views.c[name] for name in FeatureView.__struct_fields__]


class FeatureStore:
    """The SQL of feature views; every method works in the transaction that it is given."""

    def insert(self, connection: Connection, view: FeatureView, token: str | None) -> None:
        """Write a version."""
        connection.execute(views.insert(), {**msgspec.structs.asdict(view), "token": token})

    def of_token(self, connection: Connection, token: str) -> FeatureView | None:
        """Give the version that was defined with this token."""
        return _first(connection.execute(select(*_FIELDS).where(views.c.token == token)).first())

    def find(self, connection: Connection, name: str, version: int) -> FeatureView | None:
        """Give a version."""
        query = select(*_FIELDS).where(views.c.name == name, views.c.version == version)
        return _first(connection.execute(query).first())

    def latest(self, connection: Connection, name: str) -> FeatureView | None:
        """Give the newest version."""
        query = select(*_FIELDS).where(views.c.name == name).order_by(views.c.version.desc()).limit(1)
        return _first(connection.execute(query).first())

    def list(self, connection: Connection) -> list[FeatureView]:
        """List every version of every view, by name, the newest first."""
        query = select(*_FIELDS).order_by(views.c.name, views.c.version.desc())
        return [_view(row) for row in connection.execute(query)]

    def record(self, connection: Connection, materialisation: Materialisation) -> None:
        """Write a materialisation; one of the same instant is replaced."""
        row = msgspec.structs.asdict(materialisation)
        upsert(connection, materialisations, row, keys=["view", "version", "until"])

    def last_materialisation(self, connection: Connection, name: str, version: int) -> Materialisation | None:
        """Give the materialisation of the latest instant."""
        query = select(materialisations).where(materialisations.c.view == name, materialisations.c.version == version)
        row = connection.execute(query.order_by(materialisations.c.until.desc()).limit(1)).first()
        return None if row is None else Materialisation(**row._mapping)


def _first(row: Row[Any] | None) -> FeatureView | None:
    return None if row is None else _view(row)


def _view(row: Row[Any]) -> FeatureView:
    return FeatureView(**row._mapping)
