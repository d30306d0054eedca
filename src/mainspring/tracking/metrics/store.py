"""The tables of metrics, laid out for histories of 100,000 steps and searches over 10,000 runs, and their SQL.

A series is one key of one run. Its row holds the latest point, so that a search never touches histories; its number
keeps the rows of points short, and their primary key is the order in which they are read. The series of a run lie side
by side under their keys, values and all: a search reads one place for a run, and no index moves when a value does.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Dialect,
    ForeignKey,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy import (
    Sequence as Numbers,
)

from mainspring.storage.sql.schema import metadata
from mainspring.storage.sql.statements import Statement, listed

NAN = 2**63 - 1
"""What SortableDouble stores for NaN: greater than everything else."""


class SortableDouble(TypeDecorator[float]):
    """A double stored as a 64-bit integer of the same order; exact, and it has NaN (last) and infinities.

    SQLite turns a NaN into NULL, and neither dialect lets a primary key hold one. The bits of an IEEE 754 double sort
    like a sign and a magnitude; flipping the magnitude of negative numbers makes that two's complement.
    """

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> int | None:
        """Give the integer; -0.0 becomes 0.0, and all NaNs become one."""
        return None if value is None else sortable(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> float | None:
        """Give the double."""
        return None if value is None else from_sortable(value)


_DOUBLE = struct.Struct("<d")
_INTEGER = struct.Struct("<q")
_INFINITY = _INTEGER.unpack(_DOUBLE.pack(math.inf))[0]


def sortable(value: float) -> int:
    """Give the integer that stands for *value*."""
    if value != value:
        return NAN
    bits: int = _INTEGER.unpack(_DOUBLE.pack(value + 0.0))[0]
    return bits if bits >= 0 else bits ^ 0x7FFF_FFFF_FFFF_FFFF


def sortables(values: Sequence[float]) -> list[int]:
    """Give the integers that stand for *values*."""
    count = len(values)
    bits = struct.unpack(f"<{count}q", struct.pack(f"<{count}d", *values))
    return [one if 0 <= one <= _INFINITY else sortable(value) for one, value in zip(bits, values, strict=True)]


def from_sortable(number: int) -> float:
    """Give the value that stands behind an integer."""
    if number == NAN:
        return math.nan
    value: float = _DOUBLE.unpack(_INTEGER.pack(number if number >= 0 else number ^ 0x7FFF_FFFF_FFFF_FFFF))[0]
    return value


series = Table(
    "metric_series",
    metadata,
    Column("run", Text, ForeignKey("runs.id"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("id", BigInteger, Numbers("metric_series_id_seq"), nullable=False, unique=True),
    Column("step", BigInteger, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("value", SortableDouble, nullable=False),
    sqlite_with_rowid=False,
)

points = Table(
    "metric_points",
    metadata,
    Column("series", BigInteger, ForeignKey("metric_series.id"), primary_key=True, autoincrement=False),
    Column("step", BigInteger, primary_key=True, autoincrement=False),
    Column("at_us", BigInteger, primary_key=True, autoincrement=False),
    Column("value", SortableDouble, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)


class Point(NamedTuple):
    """A point of a series; tuples of sortable integers, so the greatest is the latest."""

    step: int
    at_us: int
    value: int


Sorted = tuple[int, int, int]
"""A `Point` without names, which cost more than to store it."""

# Each logged value passes here, so these go to the driver itself.
_FIND = Statement("SELECT id, key, step, at_us, value FROM metric_series WHERE run = ? AND key = ?")
_FIND_MANY = Statement(
    "SELECT id, key, step, at_us, value FROM metric_series WHERE run = ? AND key IN (SELECT value FROM json_each(?))",
    postgresql="SELECT id, key, step, at_us, value FROM metric_series WHERE run = ? AND key = ANY(?)",
)
_ADD = Statement(
    "INSERT INTO metric_series (id, run, key, step, at_us, value) "
    "VALUES ((SELECT coalesce(max(id), 0) + 1 FROM metric_series), ?, ?, ?, ?, ?)",
    postgresql="INSERT INTO metric_series (id, run, key, step, at_us, value) "
    "VALUES (nextval('metric_series_id_seq'), ?, ?, ?, ?, ?)",
)
_MOVE_ON = Statement("UPDATE metric_series SET step = ?, at_us = ?, value = ? WHERE run = ? AND key = ?")
_ADD_POINT = Statement(
    "INSERT INTO metric_points (series, step, at_us, value) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
_MANY = 100
_ADD_MANY = Statement(  # A third cheaper than one at a time.
    f"INSERT INTO metric_points (series, step, at_us, value) VALUES {', '.join(['(?, ?, ?, ?)'] * _MANY)} "  # noqa: S608
    "ON CONFLICT DO NOTHING"
)


def grouped(
    keys: Iterable[str], steps: Iterable[int], at_us: Iterable[int], values: Sequence[float]
) -> dict[str, list[Sorted]]:
    """Put points, given in columns, together by their keys."""
    found: dict[str, list[Sorted]] = {}
    for key, point in zip(keys, zip(steps, at_us, sortables(values), strict=True), strict=True):
        found.setdefault(key, []).append(point)
    return found


def insert_points(connection: Connection, run: str, by_key: Mapping[str, Sequence[Sorted]]) -> None:
    """Insert points and move the latest ones on; exact duplicates are ignored. The run must be locked."""
    numbers = _advance(connection, run, {key: max(found) for key, found in by_key.items()})
    rows = [(numbers[key], *point) for key, found in by_key.items() for point in found]
    whole = len(rows) - len(rows) % _MANY
    for at in range(0, whole, _MANY):
        _ADD_MANY.run(connection, [value for row in rows[at : at + _MANY] for value in row])
    rest = rows[whole:]
    if len(rest) == 1:
        _ADD_POINT.run(connection, rest[0])
    elif rest:
        _ADD_POINT.run_many(connection, rest)


def insert_point(connection: Connection, run: str, key: str, point: Sorted) -> None:
    """Insert one point, as `insert_points` does many: most calls log a single one. The run must be locked."""
    known = _FIND.first(connection, (run, key))
    if known is None:
        insert_points(connection, run, {key: [point]})
        return
    if point > known[2:]:
        _MOVE_ON.run(connection, (*point, run, key))
    _ADD_POINT.run(connection, (known[0], *point))


def _advance(connection: Connection, run: str, latest: dict[str, Sorted]) -> dict[str, int]:
    known = _find(connection, run, list(latest))
    fresh = [key for key in latest if key not in known]
    if fresh:
        _ADD.run_many(connection, [(run, key, *latest[key]) for key in fresh])
        known |= _find(connection, run, fresh)
    moved = [(*latest[key], run, key) for key, (_, last) in known.items() if latest[key] > last]
    if len(moved) == 1:
        _MOVE_ON.run(connection, moved[0])
    elif moved:
        _MOVE_ON.run_many(connection, moved)
    return {key: number for key, (number, _) in known.items()}


def _find(connection: Connection, run: str, keys: Sequence[str]) -> dict[str, tuple[int, Sorted]]:
    if len(keys) == 1:
        found = _FIND.rows(connection, (run, keys[0]))
    else:
        found = _FIND_MANY.rows(connection, (run, listed(connection, keys)))
    return {key: (number, (step, at_us, value)) for number, key, step, at_us, value in found}
