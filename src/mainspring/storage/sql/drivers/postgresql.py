"""Records in a PostgreSQL database, or in a server that speaks its protocol and its SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import psycopg
import psycopg.errors
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from mainspring.core.errors import InvalidRequest, MainspringError, Unavailable
from mainspring.core.urls import without_secrets
from mainspring.storage.sql.database import Database


class PostgresqlDatabase(Database):
    """A database of a PostgreSQL server."""

    driver_errors = (DBAPIError, psycopg.Error)

    @classmethod
    def open(cls, url: str) -> Self:
        """Open ``postgresql://user:password@host:port/name?option=...``; the first transaction connects."""
        try:
            parsed = make_url(url).set(drivername="postgresql+psycopg")
        except (ArgumentError, ValueError):
            raise InvalidRequest(
                f"{without_secrets(url)!r} is not a database URL: expected postgresql://USER@HOST:PORT/NAME"
            ) from None
        return cls(url, create_engine(parsed, pool_size=10, max_overflow=30, pool_pre_ping=True))

    def give_back(self, tables: Sequence[str]) -> int:
        """Make the space of removed rows free for others; what lies at the end of a table goes back to the disk."""
        with self._said_clearly(), self.engine.connect() as connection:
            apart = connection.execution_options(isolation_level="AUTOCOMMIT")
            size = "SELECT pg_database_size(current_database())"
            before: int = apart.exec_driver_sql(size).scalar_one()
            for table in tables:
                apart.exec_driver_sql(f'VACUUM "{table}"')
            after: int = apart.exec_driver_sql(size).scalar_one()
            return max(0, before - after)

    def _understood(self, error: Exception) -> MainspringError | None:
        own = error.orig if isinstance(error, DBAPIError) else error
        said = str(own).strip().partition("\n")[0]
        if isinstance(own, psycopg.errors.ReadOnlySqlTransaction):
            said += ": the server takes no writes, as a standby does; give the URL of the primary"
        elif not isinstance(own, psycopg.OperationalError | psycopg.InterfaceError):
            return None
        return Unavailable(f"the database {self.url} does not work: {said}", url=self.url)
