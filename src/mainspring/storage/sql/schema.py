"""What every table is made of: the one MetaData, column types that both dialects share, and the portable upsert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Connection, Dialect, Integer, MetaData, Table, Text, TypeDecorator, bindparam
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import ReturningInsert

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Identity64 = BigInteger().with_variant(Integer(), "sqlite")
"""The type of a counting primary key: 64 bits in both dialects (SQLite counts only in INTEGER)."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def instant(microseconds: int) -> datetime:
    """Give the datetime that an integer of the database stands for."""
    return _EPOCH + microseconds * _MICROSECOND


class Instant(TypeDecorator[datetime]):
    """An aware datetime, stored as integer microseconds since 1970 UTC: exact, sortable, the same in both dialects."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Give the integer; raises ValueError for a naive datetime."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone: inside Mainspring every instant is aware")
        return (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """Give the datetime in UTC."""
        return None if value is None else instant(value)


class Packed(TypeDecorator[Any]):
    """A msgspec value of a declared type, stored as JSON text: ``Packed(list[Check])``."""

    impl = Text
    cache_ok = True

    def __init__(self, declared: Any = Any) -> None:
        super().__init__()
        # Under the name of the argument: statements are cached by it.
        self.declared = declared
        self._decoder = msgspec.json.Decoder(declared)

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Give the JSON text; None stays NULL."""
        return None if value is None else msgspec.json.encode(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Give the value, checked against the declared type."""
        return None if value is None else self._decoder.decode(value)


def upsert(
    connection: Connection,
    table: Table,
    values: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    keys: Sequence[str],
    update: Sequence[str] | None = None,
) -> int:
    """Insert rows; where *keys* stand already, set the columns *update* (None: all others; empty: leave as they are).

    Returns how many rows were inserted or changed.
    """
    rows = [values] if isinstance(values, Mapping) else values
    if not rows:
        return 0
    columns = tuple(rows[0])
    changed = tuple(name for name in columns if name not in keys) if update is None else tuple(update)
    statement = _upsert_of(table, connection.dialect.name, columns, tuple(keys), changed)
    return len(connection.execute(statement, rows).all())


@cache
def _upsert_of(
    table: Table, dialect: str, columns: tuple[str, ...], keys: tuple[str, ...], changed: tuple[str, ...]
) -> ReturningInsert[Any]:
    # Built once: to build a statement costs more than to carry it out.
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    statement = insert(table).values({name: bindparam(name) for name in columns})
    if changed:
        settings = {name: statement.excluded[name] for name in changed}
        statement = statement.on_conflict_do_update(index_elements=list(keys), set_=settings)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=list(keys))
    return statement.returning(table.c[keys[0]])
