"""A database that records are kept in: SQLite in WAL mode, or PostgreSQL; opened by URL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar
from urllib.parse import quote

from sqlalchemy import Connection, Engine, inspect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from mainspring.core.errors import MainspringError, Unavailable
from mainspring.core.plugins import Registry
from mainspring.core.urls import without_secrets
from mainspring.storage.locations import scheme_of
from mainspring.storage.sql.schema import metadata

T = TypeVar("T")
Transaction = Connection
"""What is read and written through; services hand it on to their stores."""
Work = Callable[[Transaction], T]
"""What is to be written, as a value: carried out in a transaction, alone or with that of others."""


class Database:
    """One SQL database. Threads may share it; a process that forked must open its own.

    A driver derives from this. Stores write their SQL for the dialects of SQLite and PostgreSQL, so what a driver opens
    speaks one of them.
    """

    lacks: ClassVar[Mapping[str, str]] = {}
    """What this driver cannot do, by capability, with the reason."""

    one_writer: ClassVar[bool] = False
    """Whether writers take turns, so that `together` saves them time."""

    driver_errors: ClassVar[tuple[type[Exception], ...]] = (DBAPIError,)
    """What the driver raises, bare or in SQLAlchemy's wrapping."""

    def __init__(self, url: str, engine: Engine) -> None:
        self.url = without_secrets(url)
        self.engine = engine

    @classmethod
    def open(cls, url: str) -> Self:
        """Open the database; raises InvalidRequest for a malformed URL and Unavailable where it cannot be made."""
        raise NotImplementedError

    @property
    def dialect(self) -> str:
        """Give ``sqlite`` or ``postgresql``."""
        return self.engine.dialect.name

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Open a transaction that writes: committed (durably) at the end of the block, rolled back on an exception.

        On SQLite the write lock is taken at once, so do the slow work before. Raises Unavailable when the database is
        locked for longer than 30 s, full, read-only or not to be reached, Corrupt when it is damaged.
        """
        with self._said_clearly():
            with self._turn(), self.engine.connect() as connection:
                # Said here, because statements that go to the driver itself do not let SQLAlchemy begin it.
                connection.begin()
                self._enter(connection, writes=True)
                try:
                    yield connection
                except BaseException:
                    connection.rollback()
                    raise
                written = self._commit(connection)
            if written:
                self._make_durable()

    def carry_out(self, work: Work[T]) -> T:
        """Do *work* in a transaction of its own, as `begin` opens one; gives what it gives."""
        with self.begin() as connection:
            return work(connection)

    def together(self, works: Sequence[Work[Any]], *, wait: bool = True) -> list[Any] | None:
        """Do several works, each whole or not at all, and return once all of them are durable.

        Gives what each gave, or the Exception that it raised, in their order. Without *wait* nothing is done, and None
        is given, when it would have to wait for another writer, or for the network.
        """
        return [self._outcome(work) for work in works] if wait else None

    def _outcome(self, work: Work[Any]) -> Any:
        try:
            return self.carry_out(work)
        except Exception as error:  # noqa: BLE001 (whose work it was will be told)
            return error

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads; on SQLite it sees one snapshot and never waits for writers."""
        with self._said_clearly(), self.engine.connect() as connection:
            self._enter(connection, writes=False)
            yield connection
            connection.rollback()

    def create_all(self) -> None:
        """Create the tables that are known to this process, without migrations: for tests of a single room."""
        with self.begin() as connection:
            metadata.create_all(connection)

    def tables(self) -> list[str]:
        """List the tables that are there, by whomever they were made."""
        with self.read() as connection:
            return inspect(connection).get_table_names()

    def delete_all(self, *, keep: Collection[str] = ()) -> None:
        """Delete every row of the tables that are known to this process, but for those to *keep*; numbers go on."""
        # What refers to others goes before them.
        emptied = [table.name for table in reversed(metadata.sorted_tables) if table.name not in keep]
        with self.begin() as connection:
            if self.dialect == "postgresql":
                connection.exec_driver_sql("".join(f'DELETE FROM "{name}";' for name in emptied))  # noqa: S608
                return
            for name in emptied:
                connection.exec_driver_sql(f'DELETE FROM "{name}"')  # noqa: S608

    def give_back(self, tables: Sequence[str]) -> int:
        """Give the space of rows that were removed from these tables back to the disk, where that goes in passing.

        Nobody is kept waiting for longer than by a small write. Tells how many bytes it was.
        """
        return 0

    def close(self) -> None:
        """Close every connection that nobody uses."""
        self.engine.dispose()

    def _turn(self) -> AbstractContextManager[object]:
        """Wait for the turn to write, where the database has one writer at a time."""
        return nullcontext()

    def _enter(self, connection: Connection, *, writes: bool) -> None:
        """Begin the transaction, where the driver of the database does not do so by itself."""

    def _commit(self, connection: Connection) -> bool:
        """Commit; gives True when something was written that `_make_durable` has to see to."""
        connection.commit()
        return False

    def _make_durable(self) -> None:
        """Return once what was committed before survives a power cut."""

    def _understood(self, error: Exception) -> MainspringError | None:
        """Give what an error of the database means to the caller; None: it is a mistake in what was asked of it.

        The error is the driver's own, or SQLAlchemy's around it.
        """
        raise NotImplementedError

    @contextmanager
    def _said_clearly(self) -> Iterator[None]:
        try:
            yield
        except self.driver_errors as error:
            if (understood := self._understood(error)) is None:
                raise
            raise understood from error
        except PoolTimeout as error:
            raise Unavailable(
                f"every connection to the database {self.url} is in use: try again, or ask for less at a time",
                url=self.url,
            ) from error


sql: Registry[type[Database]] = Registry(
    "sql",
    sqlite="mainspring.storage.sql.drivers.sqlite:SqliteDatabase",
    postgresql="mainspring.storage.sql.drivers.postgresql:PostgresqlDatabase",
)


def open_database(url: str) -> Database:
    """Open ``sqlite:///path/to/file.db`` or ``postgresql://user@host/name``."""
    scheme = scheme_of(url, "sqlite:///FILE or postgresql://USER@HOST/NAME")
    return sql.load(scheme.partition("+")[0]).open(url)


def sqlite_url(file: Path) -> str:
    """Give the URL of an SQLite database in this file."""
    return f"sqlite:///{quote(str(file))}"
