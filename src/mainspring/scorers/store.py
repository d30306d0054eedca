"""The tables of scorers, and the SQL that writes and reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Row,
    Select,
    Table,
    Text,
    UniqueConstraint,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy import Connection as Connection

from mainspring.scorers.model import OnlineScoring, ScorerVersion
from mainspring.storage.sql.schema import Instant, metadata, upsert

_IDS = 500

scorers = Table(
    "scorers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("experiment", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("last", BigInteger, nullable=False),  # The last number that was given: none is given twice.
    UniqueConstraint("experiment", "name"),
)

versions = Table(
    "scorer_versions",
    metadata,
    Column("scorer", Text, ForeignKey("scorers.id", ondelete="CASCADE"), primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("definition", Text, nullable=False),
    Column("created", Instant, nullable=False),
)

online = Table(
    "online_scorings",
    metadata,
    Column("scorer", Text, ForeignKey("scorers.id", ondelete="CASCADE"), primary_key=True),
    Column("id", Text, nullable=False),
    Column("sample_rate", Float, nullable=False),
    Column("where", Text),
)


def next_version(connection: Connection, id: str, experiment: str, name: str) -> tuple[str, int]:
    """Give the id of a scorer, which is *id* if it is new, and the number of its next version."""
    fresh = {"id": id, "experiment": experiment, "name": name, "last": 0}
    upsert(connection, scorers, fresh, keys=["experiment", "name"], update=[])
    mine = (scorers.c.experiment == experiment) & (scorers.c.name == name)
    counted = update(scorers).where(mine).values(last=scorers.c.last + 1).returning(scorers.c.id, scorers.c.last)
    row = connection.execute(counted).one()
    return row.id, row.last


def insert_version(connection: Connection, version: ScorerVersion) -> None:
    """Add a version."""
    connection.execute(insert(versions), {column.name: getattr(version, column.name) for column in versions.c})


def versions_of(connection: Connection, experiment: str, name: str) -> list[ScorerVersion]:
    """List the versions of a scorer, the oldest first."""
    query = _read().where(scorers.c.experiment == experiment, scorers.c.name == name)
    return [_version(row) for row in connection.execute(query.order_by(versions.c.version))]


def latest(connection: Connection, experiments: Sequence[str] | None) -> list[ScorerVersion]:
    """List the last version of each scorer, of these experiments or of all, by experiment and name."""
    last = select(versions.c.scorer, func.max(versions.c.version).label("version")).group_by(versions.c.scorer)
    newest = last.subquery()
    query = _read().join(newest, (newest.c.scorer == versions.c.scorer) & (newest.c.version == versions.c.version))
    if experiments is not None:
        query = query.where(scorers.c.experiment.in_(experiments))
    return [_version(row) for row in connection.execute(query.order_by(scorers.c.experiment, scorers.c.name))]


def delete_scorer(connection: Connection, id: str) -> None:
    """Delete a scorer with all that belongs to it."""
    connection.execute(delete(scorers).where(scorers.c.id == id))


def delete_version(connection: Connection, id: str, version: int) -> None:
    """Delete one version."""
    connection.execute(delete(versions).where(versions.c.scorer == id, versions.c.version == version))


def set_online(connection: Connection, scoring: OnlineScoring) -> None:
    """Say which traces a scorer is meant to judge, in the place of what was said before."""
    row = {column.name: getattr(scoring, column.name) for column in online.c}
    upsert(connection, online, row, keys=["scorer"])


def online_of(connection: Connection, ids: Sequence[str]) -> list[OnlineScoring]:
    """Give what was said of these scorers."""
    found: list[OnlineScoring] = []
    for at in range(0, len(ids), _IDS):
        query = select(online, scorers.c.experiment).join(scorers, scorers.c.id == online.c.scorer)
        rows = connection.execute(query.where(online.c.scorer.in_(ids[at : at + _IDS])).order_by(online.c.scorer))
        found += [OnlineScoring(**row._mapping) for row in rows]
    return found


def _read() -> Select[Any]:
    return select(versions, scorers.c.experiment, scorers.c.name).join(scorers, scorers.c.id == versions.c.scorer)


def _version(row: Row[Any]) -> ScorerVersion:
    return ScorerVersion(**row._mapping)
