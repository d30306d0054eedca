"""The table of artifacts that no run owns, and the SQL for folders of artifacts, whosever they are."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Table,
    Text,
    case,
    delete,
    func,
    or_,
    select,
    text,
)

from mainspring.core.errors import Conflict
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.matching import below, position
from mainspring.storage.sql.schema import metadata, upsert
from mainspring.tracking import store as tracking_store
from mainspring.tracking.artifacts import parents
from mainspring.tracking.files.places import Place
from mainspring.tracking.model import Artifact
from mainspring.tracking.store import run_artifacts, runs

artifact_files = Table(
    "artifact_files",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("path", Text, primary_key=True),
    Column("digest", Text, nullable=False, index=True),
    Column("size", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)


class Child(NamedTuple):
    """What lies directly in a folder: a file with its size, or another folder (None)."""

    name: str
    size: int | None


class _Rows(NamedTuple):
    """The rows of one place: their table, the column that tells places apart, and its value."""

    table: Table
    column: str
    owner: str

    @property
    def of_place(self) -> ColumnElement[bool]:
        return self.table.c[self.column] == self.owner


def _rows(place: Place) -> _Rows:
    if place.kind == "run":
        return _Rows(run_artifacts, "run", place.id)
    return _Rows(artifact_files, "owner", place.owner)


def known_runs(connection: Connection, ids: Collection[str]) -> set[str]:
    """Tell which of these are ids of runs."""
    return set(connection.execute(select(runs.c.id).where(runs.c.id.in_(ids))).scalars())


@contextmanager
def writing(database: Database, place: Place) -> Iterator[Connection]:
    """Open a transaction in which nobody else writes to this place; raises NotFound for a run that is not there."""
    if place.kind == "run":
        with tracking_store.writing(database, place.id) as connection:
            yield connection
        return
    with database.begin() as connection:
        if connection.dialect.name == "postgresql":
            lock = text("SELECT pg_advisory_xact_lock(hashtextextended(:owner, 0))")
            connection.execute(lock, {"owner": place.owner})
        yield connection


def set_file(connection: Connection, place: Place, artifact: Artifact) -> None:
    """Let a path point to an object; raises Conflict when it would be a file and a folder at once."""
    rows = _rows(place)
    path = rows.table.c.path
    clash = select(path).where(
        rows.of_place, or_(path.in_(parents(artifact.path)), below(path, artifact.path, connection.dialect.name))
    )
    if (other := connection.execute(clash.limit(1)).scalar()) is not None:
        raise Conflict(f"{artifact.path!r} and {other!r} cannot both be files", path=artifact.path)
    row = {rows.column: rows.owner, "path": artifact.path, "digest": artifact.digest, "size": artifact.size}
    upsert(connection, rows.table, row, keys=[rows.column, "path"])


def find_file(connection: Connection, place: Place, path: str) -> Artifact | None:
    """Find what a path points to."""
    table, _, _ = rows = _rows(place)
    query = select(table.c.path, table.c.digest, table.c.size).where(rows.of_place, table.c.path == path)
    row = connection.execute(query).first()
    return None if row is None else Artifact(*row)


def files_below(connection: Connection, place: Place, folder: str) -> list[Artifact]:
    """List the files of a folder and of those inside it; the empty one is the whole place."""
    table, _, _ = rows = _rows(place)
    query = select(table.c.path, table.c.digest, table.c.size)
    found = connection.execute(query.where(rows.of_place, below(table.c.path, folder, connection.dialect.name)))
    return sorted((Artifact(*row) for row in found), key=lambda artifact: artifact.path)


def has_files(connection: Connection, place: Place, folder: str) -> bool:
    """Tell whether there is anything in a folder."""
    rows = _rows(place)
    query = select(rows.table.c.path).where(rows.of_place, below(rows.table.c.path, folder, connection.dialect.name))
    return connection.execute(query.limit(1)).first() is not None


def children(connection: Connection, place: Place, folder: str) -> list[Child]:
    """List what lies directly in a folder, by name."""
    rows = _rows(place)
    path: ColumnElement[Any] = rows.table.c.path
    name = func.substr(path, len(folder) + 2) if folder else path
    slash = position(name, "/", connection.dialect.name)
    head = case((slash > 0, func.substr(name, 1, slash - 1)), else_=name).label("head")
    query = select(head, func.max(slash), func.max(rows.table.c.size))
    listed = connection.execute(query.where(rows.of_place, below(path, folder, connection.dialect.name)).group_by(head))
    return sorted(Child(child, None if folders else size) for child, folders, size in listed)


def remove(connection: Connection, place: Place, path: str) -> int:
    """Remove a file, or a folder with all that is in it; tells how many files that were."""
    rows = _rows(place)
    inside = or_(rows.table.c.path == path, below(rows.table.c.path, path, connection.dialect.name))
    return connection.execute(delete(rows.table).where(rows.of_place, inside)).rowcount
