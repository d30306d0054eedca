"""Where deleted models are kept: their rows as the database had them, which also keeps the objects they refer to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Index, Integer, Table, Text, column, delete, select, table, update
from sqlalchemy import Connection as Connection

from mainspring.core.actor import current_actor
from mainspring.registry.deleted.model import DeletedModel
from mainspring.registry.scanning.store import model_scans
from mainspring.registry.store import model_tags, model_version_tags, model_versions, models
from mainspring.storage.sql.schema import Identity64, Instant, Packed, metadata

deleted_models = Table(
    "deleted_models",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("name", Text, nullable=False),
    Column("version", Integer),
    Column("versions", Integer, nullable=False),
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
    Column("rows", Packed(dict[str, list[dict[str, Any]]]), nullable=False),
    Index("ix_deleted_models_name", "name", "version", "id"),
)

_OF_VERSION = (model_versions, model_version_tags, model_scans)
_OF_MODEL = (models, model_tags, *_OF_VERSION)
Rows = Mapping[str, Sequence[Mapping[str, Any]]]


def keep(connection: Connection, name: str, version: int | None, at: datetime) -> None:
    """Keep the rows of a model, or of one version of it, before they are removed."""
    rows = {one.name: _rows(connection, one, name, version) for one in (_OF_MODEL if version is None else _OF_VERSION)}
    told = {
        "name": name,
        "version": version,
        "versions": len(rows[model_versions.name]),
        "at": at,
        "actor": current_actor().name,
        "rows": rows,
    }
    connection.execute(deleted_models.insert(), told)


def find(connection: Connection, name: str, version: int | None) -> tuple[int, Rows] | None:
    """Find what was deleted last under this name: its number here, and its rows."""
    c = deleted_models.c
    which = c.version.is_(None) if version is None else c.version == version
    query = select(c.id, c.rows).where((c.name == name) & which).order_by(c.id.desc()).limit(1)
    row = connection.execute(query).first()
    return None if row is None else (row.id, row.rows)


def bring_back(connection: Connection, name: str, rows: Rows) -> dict[int, str]:
    """Put rows back, under the name that the model has now; gives the stage of each version."""
    for kept in _OF_MODEL:
        found = [{**row, "name": name} for row in rows.get(kept.name, [])]
        if found:
            connection.execute(_raw(kept).insert(), found)
    return {row["version"]: row["stage"] for row in rows.get(model_versions.name, [])}


def forget(connection: Connection, number: int) -> None:
    """Keep it no more."""
    connection.execute(delete(deleted_models).where(deleted_models.c.id == number))


def rename(connection: Connection, name: str, new_name: str) -> None:
    """Let the deleted versions of a model go along with it."""
    c = deleted_models.c
    connection.execute(update(deleted_models).where((c.name == name) & c.version.is_not(None)).values(name=new_name))


def list_deleted(connection: Connection, limit: int) -> list[DeletedModel]:
    """List what was deleted, the last first."""
    c = deleted_models.c
    query = select(c.name, c.version, c.versions, c.at, c.actor).order_by(c.id.desc()).limit(limit)
    return [DeletedModel(**row._mapping) for row in connection.execute(query)]


def _rows(connection: Connection, kept: Table, name: str, version: int | None) -> list[dict[str, Any]]:
    raw = _raw(kept)
    where = raw.c.name == name if version is None else (raw.c.name == name) & (raw.c.version == version)
    return [dict(row._mapping) for row in connection.execute(select(raw).where(where))]


def _raw(kept: Table) -> Any:
    # Without types: what was read as the database has it is written as it was.
    return table(kept.name, *(column(one.name) for one in kept.columns))
