"""The table of label schemas, and the SQL that writes and reads them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, Column, Row, Table, Text, UniqueConstraint, delete, select, update
from sqlalchemy import Connection as Connection

from mainspring.core.errors import AlreadyExists, NotFound
from mainspring.storage.sql.schema import Instant, Packed, metadata, upsert
from mainspring.traces.label_schemas.model import Answers, LabelSchema

label_schemas = Table(
    "label_schemas",
    metadata,
    Column("id", Text, primary_key=True),
    Column("experiment", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("input", Packed(Answers), nullable=False),
    Column("instruction", Text),
    Column("enable_comment", Boolean, nullable=False),
    Column("created", Instant, nullable=False),
    Column("updated", Instant, nullable=False),
    Column("is_default", Boolean, nullable=False),
    UniqueConstraint("experiment", "name"),
)


def insert_schema(connection: Connection, schema: LabelSchema) -> bool:
    """Add a question, and tell whether the experiment had none of this name."""
    row = {column.name: getattr(schema, column.name) for column in label_schemas.c}
    return upsert(connection, label_schemas, row, keys=["experiment", "name"], update=[]) > 0


def exists_already(schema: LabelSchema) -> AlreadyExists:
    """Give the error that says that an experiment has a question of this name."""
    return AlreadyExists(
        f"Label schema with name '{schema.name}' already exists for experiment '{schema.experiment}'.", name=schema.name
    )


def change(connection: Connection, before: LabelSchema, after: LabelSchema) -> None:
    """Replace a question; raises AlreadyExists when another one has its new name."""
    c = label_schemas.c
    if after.name != before.name:
        taken = select(c.id).where(c.experiment == after.experiment, c.name == after.name).with_for_update()
        if connection.execute(taken).first() is not None:
            raise exists_already(after)
    row = {column.name: getattr(after, column.name) for column in c}
    connection.execute(update(label_schemas).where(c.id == after.id).values(**row))


def delete_schema(connection: Connection, id: str) -> None:
    """Delete a question."""
    connection.execute(delete(label_schemas).where(label_schemas.c.id == id))


def require(connection: Connection, id: str, *, locked: bool = False) -> LabelSchema:
    """Get a question by its id, with *locked* one that nobody else changes until the commit; raises NotFound."""
    query = select(label_schemas).where(label_schemas.c.id == id)
    row = connection.execute(query.with_for_update() if locked else query).first() if id.isprintable() else None
    if row is None:
        raise NotFound(f"Label schema with id '{id}' not found.", schema=id)
    return _schema(row)


def require_named(connection: Connection, experiment: str, name: str) -> LabelSchema:
    """Get a question of an experiment by its name; raises NotFound."""
    mine = (label_schemas.c.experiment == experiment) & (label_schemas.c.name == name)
    row = connection.execute(select(label_schemas).where(mine)).first() if name.isprintable() else None
    if row is None:
        raise NotFound(f"Label schema with name '{name}' not found for experiment '{experiment}'.", name=name)
    return _schema(row)


def has_default(connection: Connection, experiment: str) -> bool:
    """Tell whether an experiment has its question for any feedback."""
    mine = (label_schemas.c.experiment == experiment) & label_schemas.c.is_default.is_(True)
    return connection.execute(select(label_schemas.c.id).where(mine)).first() is not None


def schemas_of(connection: Connection, experiment: str, limit: int, offset: int) -> list[LabelSchema]:
    """List the questions of an experiment, the newest first."""
    c = label_schemas.c
    query = select(label_schemas).where(c.experiment == experiment).order_by(c.created.desc(), c.id)
    return [_schema(row) for row in connection.execute(query.limit(limit).offset(offset))]


def _schema(row: Row[Any]) -> LabelSchema:
    return LabelSchema(**row._mapping)
