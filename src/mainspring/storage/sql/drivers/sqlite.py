"""Records in one file of this machine: SQLite, with its log written ahead, one writer and any number of readers."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self, cast
from urllib.parse import unquote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DatabaseError, DBAPIError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from mainspring.core.errors import Corrupt, InvalidRequest, MainspringError, Unavailable
from mainspring.storage.durable import flush_path
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.group_sync import GroupSync

BUSY_TIMEOUT_MS = 30_000
_LOCKED = "database is locked: another of its transactions took too long; try again"
_REMEDIES = {
    "readonly database": "its file or folder is read-only; give this user the right to write",
    "disk is full": "the disk is full; free some space",
    "database is locked": "another process held its write lock for too long; try again",
    "unable to open database file": "its file cannot be opened; check that the folder exists and is writable",
}


class SqliteDatabase(Database):
    """An SQLite file.

    A commit puts its pages into the write-ahead log without a sync and gives up its turn; then it waits for a sync of
    the log that it shares with all who committed meanwhile. So what was acknowledged survives a power cut, and many
    writers cost the disk hardly more than one. Another reader may see a commit some milliseconds before it is durable.
    """

    def __init__(self, url: str, engine: Engine) -> None:
        super().__init__(url, engine)
        self._log = Path(f"{engine.url.database}-wal")
        self._writer = threading.Lock()
        self._durable = GroupSync(self._sync_log)
        self._before = threading.local()

    @classmethod
    def open(cls, url: str) -> Self:
        """Open, or make, the file of ``sqlite:///relative.db`` or ``sqlite:////absolute.db``."""
        _, slashes, rest = url.partition(":///")
        file = unquote(rest)
        if not slashes or not file or file == ":memory:":
            raise InvalidRequest(f"{url!r} names no file: expected sqlite:///FILE", url=url)
        if "?" in rest:
            raise InvalidRequest(f"{url!r} takes no options: write ? as %3F where the file has one", url=url)
        try:
            Path(file).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"cannot make the folder of the database {file}: {error.strerror}") from error
        engine = create_engine(
            URL.create("sqlite", database=file),
            connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False},
            pool_size=16,
            max_overflow=64,
            pool_timeout=60,
        )
        event.listen(engine, "connect", _prepare)
        return cls(url, engine)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        # SQLite lets those who wait for its lock sleep and look again; within a process they can be woken.
        if not self._writer.acquire(timeout=BUSY_TIMEOUT_MS / 1000):
            raise Unavailable(f"the database {self.url} does not work: {_LOCKED}", url=self.url)
        try:
            yield
        finally:
            self._writer.release()

    def _enter(self, connection: Connection, *, writes: bool) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
        if writes:
            self._before.state = _state(connection, rows_only=False)

    def _commit(self, connection: Connection) -> bool:
        rows, schema = cast(tuple[int, int], self._before.state)
        written = _state(connection, rows_only=True)[0] != rows or _state(connection, rows_only=False)[1] != schema
        connection.commit()
        return written

    def _make_durable(self) -> None:
        try:
            self._durable.wait()
        except OSError as error:
            raise Unavailable(
                f"the database {self.url} cannot be synced to its disk: {error.strerror}; check the disk", url=self.url
            ) from error

    def _sync_log(self) -> None:
        # The log may have gone with the last connection that was closed: then all of it is in the database, synced.
        with suppress(FileNotFoundError):
            flush_path(self._log)

    def _understood(self, error: DBAPIError) -> MainspringError | None:
        if isinstance(error, OperationalError):
            said = str(error.orig).strip().partition("\n")[0]
            remedies = [f"{said}: {remedy}" for mark, remedy in _REMEDIES.items() if mark in said]
            return Unavailable(f"the database {self.url} does not work: {(remedies or [said])[0]}", url=self.url)
        # The bare class is SQLite's word for a file that is damaged or none of its own.
        if isinstance(error, DatabaseError) and type(error.orig) is sqlite3.DatabaseError:
            return Corrupt(f"the database {self.url} is damaged: {error.orig}; restore it from a backup", url=self.url)
        return None


def _state(connection: Connection, *, rows_only: bool) -> tuple[int, int]:
    """Give how many rows the connection has changed so far, and the version of the schema that it sees."""
    driver = cast(sqlite3.Connection, connection.connection.driver_connection)
    schema: int = 0 if rows_only else driver.execute("PRAGMA schema_version").fetchone()[0]
    return driver.total_changes, schema


def _prepare(connection: sqlite3.Connection, entry: ConnectionPoolEntry) -> None:
    # The driver's own implicit transactions begin too late (at the first write), which turns a reader that writes
    # into SQLITE_BUSY; Database says BEGIN itself.
    connection.isolation_level = None
    connection.create_function("regexp", 2, _matches, deterministic=True)
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA foreign_keys=ON")
    if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        cursor.execute("PRAGMA journal_mode=WAL")
    # The log is synced after a commit, by the database, for several at once; NORMAL syncs it at checkpoints only.
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _matches(pattern: str, value: object) -> bool | None:
    # What REGEXP calls; SQLite has the operator but not the function. Python's own expressions go back and forth, in a
    # wrong pattern for ever and with the whole process waiting; those of Rust take time in proportion to the text.
    if value is None:
        return None
    import polars

    return bool(polars.Series([str(value)]).str.contains(pattern)[0])
