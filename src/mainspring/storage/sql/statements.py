"""SQL that is written once for both dialects and goes to the driver itself, where thousands pass in a second.

To build a statement of SQLAlchemy costs 50 us, to carry out one that was built 10 us, and SQLite's own work 2 us. So
the stores speak SQLAlchemy, except where each request passes: there a module holds its `Statement`s.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection

Values = Sequence[Any]
Row = tuple[Any, ...]


class Statement:
    """One text of SQL with ``?`` for each value; it is executed in the transaction of a `Connection`.

    Values travel as they are stored: instants as microseconds, packed values as JSON text.
    """

    __slots__ = ("_postgresql", "_sqlite")

    def __init__(self, sql: str, *, postgresql: str | None = None) -> None:
        """Take the text for both, or a text of its own for PostgreSQL, in which ``?`` stands for values too."""
        self._sqlite = sql
        self._postgresql = (postgresql or sql).replace("%", "%%").replace("?", "%s")

    def run(self, connection: Connection, values: Values = ()) -> int:
        """Carry it out; gives how many rows were changed."""
        driver, text = self._on(connection)
        changed: int = driver.execute(text, values).rowcount
        return changed

    def run_many(self, connection: Connection, rows: Iterable[Values]) -> int:
        """Carry it out for each of some rows; gives how many rows were changed in all."""
        driver, text = self._on(connection)
        cursor = driver.cursor()
        cursor.executemany(text, rows)
        changed: int = cursor.rowcount
        return changed

    def first(self, connection: Connection, values: Values = ()) -> Row | None:
        """Give the first row that it finds, if any."""
        driver, text = self._on(connection)
        found: Row | None = driver.execute(text, values).fetchone()
        return found

    def rows(self, connection: Connection, values: Values = ()) -> list[Row]:
        """Give every row that it finds."""
        driver, text = self._on(connection)
        found: list[Row] = driver.execute(text, values).fetchall()
        return found

    def _on(self, connection: Connection) -> tuple[Any, str]:
        standing = vars(connection).get(_STANDING)
        if standing is not None:
            return standing, self._sqlite
        text = self._sqlite if connection.dialect.name == "sqlite" else self._postgresql
        return connection.connection.driver_connection, text


_STANDING = "mainspring_driver"


def keep_driver(connection: Connection, driver: Any) -> None:
    """Note the connection of the driver behind one to SQLite that stays open: to ask for it costs as much as to use it.

    It must be the same for as long as *connection* is used.
    """
    vars(connection)[_STANDING] = driver


def listed(connection: Connection, values: Sequence[str] | Sequence[int]) -> Any:
    """Give texts or numbers as one value of ``IN (SELECT value FROM json_each(?))``, or PostgreSQL's ``= ANY(?)``."""
    return json.dumps(values) if connection.dialect.name == "sqlite" else list(values)
