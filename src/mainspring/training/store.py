"""Where the results of trainings are kept."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, Connection, Table, Text, select

from mainspring.storage.sql.schema import Instant, Packed, metadata, upsert
from mainspring.training.model import TrainingResult

trainings = Table(
    "trainings",
    metadata,
    Column("run", Text, primary_key=True),
    Column("token", Text, unique=True),
    Column("at", Instant, nullable=False),
    Column("result", Packed(TrainingResult), nullable=False),
)


def insert(connection: Connection, result: TrainingResult, token: str | None, at: datetime) -> bool:
    """Keep a result; False when that of the run is kept already."""
    row = {"run": result.run, "token": token, "at": at, "result": result}
    return upsert(connection, trainings, row, keys=["run"], update=[]) > 0


def by_token(connection: Connection, token: str) -> TrainingResult | None:
    """Find the result of the training that was asked for with this token."""
    return connection.execute(select(trainings.c.result).where(trainings.c.token == token)).scalar_one_or_none()


def by_run(connection: Connection, run: str) -> TrainingResult | None:
    """Find the result of a run by its ref."""
    return connection.execute(select(trainings.c.result).where(trainings.c.run == run)).scalar_one_or_none()
