"""A database that records are kept in: SQLite in WAL mode, or PostgreSQL; opened by URL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from mainspring.core.errors import Corrupt, InvalidRequest, MissingExtra, Unavailable
from mainspring.storage.sql.schema import metadata

_BUSY_TIMEOUT_MS = 30_000


class Database:
    """One SQL database. Threads may share it; a process that forked must open its own."""

    def __init__(self, url: str, engine: Engine) -> None:
        self.url = url
        self.engine = engine

    @property
    def dialect(self) -> str:
        """Give ``sqlite`` or ``postgresql``."""
        return self.engine.dialect.name

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Open a transaction that writes: committed (durably) at the end of the block, rolled back on an exception.

        On SQLite the write lock is taken at once, so do the slow work before. Raises Unavailable when the database is
        locked for longer than 30 s, full, read-only or not to be reached.
        """
        with _said_clearly(self.url), self.engine.connect() as connection:
            if self.dialect == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads; on SQLite it sees one snapshot and never waits for writers."""
        with _said_clearly(self.url), self.engine.connect() as connection:
            if self.dialect == "sqlite":
                connection.exec_driver_sql("BEGIN")
            yield connection
            connection.rollback()

    def create_all(self) -> None:
        """Create the tables that are known to this process, without migrations: for tests of a single room."""
        with self.begin() as connection:
            metadata.create_all(connection)

    def close(self) -> None:
        """Close every connection that nobody uses."""
        self.engine.dispose()


def open_database(url: str) -> Database:
    """Open ``sqlite:///path/to/file.db`` or ``postgresql://user@host/name``.

    Raises InvalidRequest for another URL, MissingExtra when the PostgreSQL driver is not installed, and Unavailable
    when the folder of an SQLite file cannot be made or written.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise InvalidRequest(f"{url!r} is not a database URL: expected sqlite:///FILE or postgresql://...") from None
    backend = parsed.get_backend_name()
    if backend == "sqlite" and parsed.database:
        return Database(url, _open_sqlite(parsed.database))
    if backend == "postgresql":
        return Database(parsed.render_as_string(hide_password=True), _open_postgresql(url))
    raise InvalidRequest(f"{url!r}: expected sqlite:///FILE or postgresql://...", url=url)


def _open_sqlite(file: str) -> Engine:
    try:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"cannot make the folder of the database {file}: {error.strerror}") from error
    engine = create_engine(
        f"sqlite:///{file}",
        connect_args={"timeout": _BUSY_TIMEOUT_MS / 1000, "check_same_thread": False},
        pool_size=16,
        max_overflow=64,
        pool_timeout=60,
    )
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, entry: ConnectionPoolEntry) -> None:
    # The driver's own implicit transactions begin too late (at the first write), which turns a reader that writes
    # into SQLITE_BUSY; Database says BEGIN itself.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA foreign_keys=ON")
    if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        cursor.execute("PRAGMA journal_mode=WAL")
    # FULL syncs the log at each commit: what was acknowledged survives a power cut, not only kill -9.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _open_postgresql(url: str) -> Engine:
    try:
        import psycopg  # noqa: F401
    except ModuleNotFoundError:
        raise MissingExtra("PostgreSQL needs psycopg: pip install 'mainspring[postgres]'") from None
    parsed = make_url(url).set(drivername="postgresql+psycopg")
    return create_engine(parsed, pool_size=10, max_overflow=30, pool_pre_ping=True)


@contextmanager
def _said_clearly(url: str) -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        raise Unavailable(f"the database {url} does not work: {_reason(error)}", url=url) from error
    except DatabaseError as error:
        # The bare class is SQLite's word for a file that is damaged or none of its own.
        if type(error.orig) is not sqlite3.DatabaseError:
            raise
        raise Corrupt(f"the database {url} is damaged: {error.orig}; restore it from a backup", url=url) from error


def _reason(error: DBAPIError) -> str:
    text = str(error.orig).strip().partition("\n")[0]
    remedies = {
        "readonly database": "its file or folder is read-only; give this user the right to write",
        "disk is full": "the disk is full; free some space",
        "database is locked": "another process held its write lock for too long; try again",
        "unable to open database file": "its file cannot be opened; check that the folder exists and is writable",
    }
    for mark, remedy in remedies.items():
        if mark in text:
            return f"{text}: {remedy}"
    return text
