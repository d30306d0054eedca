"""How far the spool was taken in, and what in it could not be read."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import BigInteger, Column, Connection, Table, Text, select, update

from mainspring.predictions.records import SpoolDamage
from mainspring.runtime.spool import Position
from mainspring.storage.sql.schema import Identity64, Instant, metadata, upsert

spool_positions = Table(
    "spool_positions",
    metadata,
    Column("writer", Text, primary_key=True),
    Column("segment", BigInteger, nullable=False),
    Column("byte", BigInteger, nullable=False),
    Column("record", BigInteger, nullable=False),
)

spool_damages = Table(
    "spool_damages",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("writer", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("segment", BigInteger, nullable=False),
    Column("byte", BigInteger, nullable=False),
    Column("records", BigInteger),
    Column("kept", Text, nullable=False),
    Column("at", Instant, nullable=False),
)

log_marks = Table(
    "log_marks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
)

_GIVEN, _TAKEN = "given", "taken"


def positions(connection: Connection) -> list[Position]:
    """List how far each writer was read."""
    columns = (spool_positions.c.writer, spool_positions.c.segment, spool_positions.c.byte, spool_positions.c.record)
    return [Position(*row) for row in connection.execute(select(*columns))]


def set_position(connection: Connection, position: Position) -> None:
    """Remember how far a writer was read, and that all rows of the marks given so far are in the tables."""
    given = connection.execute(select(log_marks.c.number).where(log_marks.c.name == _GIVEN)).scalar_one_or_none()
    upsert(connection, log_marks, {"name": _TAKEN, "number": given or 0}, keys=["name"])
    row = {
        "writer": position.writer,
        "segment": position.segment,
        "byte": position.offset,
        "record": position.record,
    }
    upsert(connection, spool_positions, row, keys=["writer"])


def next_mark(connection: Connection) -> int:
    """Give a number greater than every one given before."""
    upsert(connection, log_marks, {"name": _GIVEN, "number": 0}, keys=["name"], update=[])
    bump = update(log_marks).where(log_marks.c.name == _GIVEN).values(number=log_marks.c.number + 1)
    return int(connection.execute(bump.returning(log_marks.c.number)).scalar_one())


def marks_taken(connection: Connection) -> int:
    """Give the highest mark up to which all rows are in the tables."""
    query = select(log_marks.c.number).where(log_marks.c.name == _TAKEN)
    return int(connection.execute(query).scalar_one_or_none() or 0)


def insert_damage(connection: Connection, damage: SpoolDamage) -> None:
    """Record what could not be read."""
    connection.execute(
        spool_damages.insert(),
        {
            "writer": damage.writer,
            "kind": damage.kind,
            "segment": damage.segment,
            "byte": damage.offset,
            "records": damage.records,
            "kept": damage.kept,
            "at": datetime.now(UTC),
        },
    )


def damages(connection: Connection, limit: int) -> list[SpoolDamage]:
    """List what could not be read, the newest first."""
    query = select(spool_damages).order_by(spool_damages.c.id.desc()).limit(limit)
    return [
        SpoolDamage(
            writer=row.writer,
            kind=row.kind,
            segment=row.segment,
            offset=row.byte,
            records=row.records,
            kept=row.kept,
            at=row.at,
        )
        for row in connection.execute(query)
    ]
