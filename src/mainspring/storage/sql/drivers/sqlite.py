"""Records in one file of this machine: SQLite, with its log written ahead, one writer and any number of readers."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self, cast
from urllib.parse import unquote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from mainspring.core.errors import Corrupt, InvalidRequest, MainspringError, Unavailable
from mainspring.storage.durable import flush_file
from mainspring.storage.sql.database import Database, Work
from mainspring.storage.sql.group_sync import GroupSync
from mainspring.storage.sql.statements import keep_driver

BUSY_TIMEOUT_MS = 30_000
_INCREMENTAL = 2
_PAGES_AT_ONCE = 512
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

    one_writer = True
    driver_errors = (DBAPIError, sqlite3.Error)

    def __init__(self, url: str, engine: Engine) -> None:
        super().__init__(url, engine)
        self._log = Path(f"{engine.url.database}-wal")
        self._writer = threading.Lock()
        self._durable = GroupSync(self._sync_log)
        self._before = threading.local()
        self._standing: Connection | None = None
        self._log_file: int | None = None
        self._connected = False
        event.listen(engine, "connect", self._note_connection)

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

    def together(self, works: Sequence[Work[Any]], *, wait: bool = True) -> list[Any] | None:
        """Do several works in one transaction, with one sync of the disk; see `Database.together`."""
        if wait:
            with self.begin() as connection:
                return [self._apart(connection, work) for work in works]
        if not self._writer.acquire(blocking=False):
            return None
        try:
            with self._said_clearly():
                done = self._at_once(works)
        finally:
            self._writer.release()
        if done is None:
            return None
        outcomes, written = done
        if written:
            self._make_durable()
        return outcomes

    def give_back(self, tables: Sequence[str]) -> int:
        """Take free pages out of the file, some at a time; files made before it was prepared for that keep theirs."""
        with self.read() as connection:
            page_bytes: int = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
            if connection.exec_driver_sql("PRAGMA auto_vacuum").scalar_one() != _INCREMENTAL:
                return 0
        given = 0
        while True:
            with self._said_clearly(), self._turn(), self.engine.connect() as connection:
                driver = _driver(connection)
                before: int = driver.execute("PRAGMA freelist_count").fetchone()[0]
                # A step takes one page, and only a script takes every step.
                driver.executescript(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})")
                left: int = driver.execute("PRAGMA freelist_count").fetchone()[0]
            given += before - left
            if before - left < _PAGES_AT_ONCE:
                break
            time.sleep(0.005)  # For those who wait to write.
        with self.engine.connect() as connection:
            _driver(connection).execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        return given * page_bytes

    def close(self) -> None:
        """Close every connection that nobody uses."""
        self._drop_standing()
        super().close()
        self._close_log()

    def _at_once(self, works: Sequence[Work[Any]]) -> tuple[list[Any], bool] | None:
        # On a connection that stays open: to take one from the pool costs as much as a small transaction.
        if self._standing is None:
            self._standing = self.engine.connect()
            self._standing.exec_driver_sql("PRAGMA busy_timeout=0")
            self._standing.rollback()
            keep_driver(self._standing, _driver(self._standing))
        driver = _driver(self._standing)
        try:
            driver.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                return None
            raise
        before = driver.total_changes
        try:
            outcomes = (
                self._alone(self._standing, works[0])
                if len(works) == 1
                else [self._apart(self._standing, work) for work in works]
            )
            if driver.in_transaction:
                driver.execute("COMMIT")
        except BaseException:
            self._drop_standing()
            raise
        if self._standing.in_transaction():  # A work spoke through SQLAlchemy, which thinks of one of its own.
            self._standing.rollback()
        return outcomes, driver.total_changes != before

    def _alone(self, connection: Connection, work: Work[Any]) -> list[Any]:
        try:
            return [work(connection)]
        except Exception as error:  # noqa: BLE001 (whose work it was will be told)
            if _driver(connection).in_transaction:
                _driver(connection).execute("ROLLBACK")
            return [self._meant(error)]

    def _meant(self, error: Exception) -> Exception:
        return (isinstance(error, self.driver_errors) and self._understood(error)) or error

    def _apart(self, connection: Connection, work: Work[Any]) -> Any:
        driver = _driver(connection)
        driver.execute("SAVEPOINT work")
        try:
            outcome = work(connection)
        except Exception as error:
            if not driver.in_transaction:  # The disk is full, say, and all of it was rolled back.
                raise
            driver.execute("ROLLBACK TO work")
            outcome = self._meant(error)
        driver.execute("RELEASE work")
        return outcome

    def _drop_standing(self) -> None:
        standing, self._standing = self._standing, None
        if standing is not None:
            standing.invalidate()
            standing.close()

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

    def _note_connection(self, connection: sqlite3.Connection, entry: ConnectionPoolEntry) -> None:
        self._connected = True

    def _sync_log(self) -> None:
        # The log may have gone with the last connection that was closed: then all of it is in the database, synced.
        with suppress(FileNotFoundError):
            # It stays open, because to open and close a file costs half of what it costs to sync it. A connection that
            # was opened since may have found none left of its own name, and begun another.
            if self._log_file is None or self._connected:
                self._connected = False
                self._close_log()
                self._log_file = os.open(self._log, os.O_RDWR | os.O_CLOEXEC)
            flush_file(self._log_file)

    def _close_log(self) -> None:
        file, self._log_file = self._log_file, None
        if file is not None:
            os.close(file)

    def _understood(self, error: Exception) -> MainspringError | None:
        own = error.orig if isinstance(error, DBAPIError) else error
        if isinstance(own, sqlite3.OperationalError):
            said = str(own).strip().partition("\n")[0]
            remedies = [f"{said}: {remedy}" for mark, remedy in _REMEDIES.items() if mark in said]
            return Unavailable(f"the database {self.url} does not work: {(remedies or [said])[0]}", url=self.url)
        # The bare class is SQLite's word for a file that is damaged or none of its own.
        if type(own) is sqlite3.DatabaseError:
            return Corrupt(f"the database {self.url} is damaged: {own}; restore it from a backup", url=self.url)
        return None


def _driver(connection: Connection) -> sqlite3.Connection:
    return cast(sqlite3.Connection, connection.connection.driver_connection)


def _state(connection: Connection, *, rows_only: bool) -> tuple[int, int]:
    """Give how many rows the connection has changed so far, and the version of the schema that it sees."""
    driver = _driver(connection)
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
        # Before anything is in the file, or never: the pages of rows that were removed can be given back.
        cursor.execute(f"PRAGMA auto_vacuum={_INCREMENTAL}")
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
