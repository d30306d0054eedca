"""The profile of a table: what each column holds, found in one pass over the rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import polars as pl

from mainspring.datasets.columns import NUMBERS, type_name
from mainspring.datasets.expectations import Level

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_TOP = 20
_EXACT_ROWS = 200_000
_COLUMNS_AT_ONCE = 50
_LEVEL, _COUNT = "level", "rows"


class LevelCount(msgspec.Struct, frozen=True):
    """A value and how many rows have it."""

    level: Level
    count: int


class ColumnProfile(msgspec.Struct, frozen=True, kw_only=True):
    """What a column holds.

    ``minimum``, ``maximum`` and ``quantiles`` (at `QUANTILES`) are numbers, for instants and dates seconds since 1970
    UTC, for text its length in characters (without quantiles). Infinite values are counted apart and in no statistic.
    ``distinct`` is exact up to 200,000 rows and an estimate (HyperLogLog, about 2 % off) above; null is not counted.
    """

    name: str
    type: str
    nulls: int
    distinct: int
    infinite: int = 0
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    std: float | None = None
    quantiles: list[float] = []
    top: list[LevelCount] = []
    sorted: bool = False


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """The profile of a version: its rows, its columns, how unique the key is, and how fresh the time column."""

    rows: int
    columns: list[ColumnProfile]
    key: list[str] = []
    key_distinct: int | None = None
    time_column: str | None = None
    earliest: datetime | None = None
    latest: datetime | None = None

    def column(self, name: str) -> ColumnProfile | None:
        """Give the profile of a column, or None."""
        return next((column for column in self.columns if column.name == name), None)


def profile(frame: pl.DataFrame, key: Sequence[str] = (), time_column: str | None = None) -> Profile:
    """Profile a canonical frame in one pass (tables of more than 50 columns: one pass for each 50)."""
    if not frame.height:
        return _of_no_rows(frame, key, time_column)
    found: dict[str, Any] = {}
    schema = frame.schema  # made anew at each call, which is slow for thousands of columns
    names = list(schema)
    for start in range(0, len(names), _COLUMNS_AT_ONCE):
        part = names[start : start + _COLUMNS_AT_ONCE]
        expressions = [e for name in part for e in _expressions(name, schema[name], frame.height)]
        if start == 0 and key:
            expressions.append(_distinct_keys(key).alias("key"))
        numbers = {name: as_number(name, schema[name]) for name in part}
        ordered = [e.sort(nulls_last=False).alias(_ordered(name)) for name, e in numbers.items() if e is not None]
        wanted = dict.fromkeys([*part, *(key if start == 0 else ())])
        plan = frame.lazy().select(*wanted, *ordered).select(expressions)
        # Looking for common parts among thousands of expressions takes longer than computing them.
        found.update(plan.collect(optimizations=pl.QueryOptFlags(comm_subexpr_elim=False)).row(0, named=True))
    columns = [_column(name, schema[name], found) for name in names]
    # Of a time column of plain numbers nobody said what unit they count.
    instants = next((c for c in columns if c.name == time_column and c.type in ("date", "datetime")), None)
    return Profile(
        rows=frame.height,
        columns=columns,
        key=list(key),
        key_distinct=found.get("key"),
        time_column=time_column,
        earliest=_instant(instants.minimum) if instants else None,
        latest=_instant(instants.maximum) if instants else None,
    )


def _of_no_rows(frame: pl.DataFrame, key: Sequence[str], time_column: str | None) -> Profile:
    columns = [ColumnProfile(name=n, type=type_name(t), nulls=0, distinct=0) for n, t in frame.schema.items()]
    return Profile(rows=0, columns=columns, key=list(key), key_distinct=0 if key else None, time_column=time_column)


def _distinct_keys(key: Sequence[str]) -> pl.Expr:
    return pl.col(key[0]).n_unique() if len(key) == 1 else pl.struct(list(key)).n_unique()


def as_number(name: str, dtype: pl.DataType) -> pl.Expr | None:
    """Give a column as finite numbers (instants and dates: seconds since 1970); None for other types."""
    column = pl.col(name)
    if dtype == pl.Date:
        return column.cast(pl.Int32).cast(pl.Int64) * 86_400
    if isinstance(dtype, pl.Datetime):
        return column.cast(pl.Int64) / 1e6
    if dtype.is_float():
        return pl.when(column.is_finite()).then(column)
    if type_name(dtype) in NUMBERS:
        return column
    return column.cast(pl.Float64) if dtype.is_decimal() else None


def _expressions(name: str, dtype: pl.DataType, rows: int) -> list[pl.Expr]:
    column = pl.col(name)
    several = [column.null_count().alias(f"nulls:{name}")]
    if dtype.is_nested() or dtype == pl.Binary:
        return several
    several.append((column.n_unique() if rows <= _EXACT_ROWS else column.approx_n_unique()).alias(f"distinct:{name}"))
    number = as_number(name, dtype)
    if number is None:
        counted = column.alias(_LEVEL).value_counts(sort=True, name=_COUNT)
        several.append(counted.head(_TOP + 1).implode().alias(f"top:{name}"))
        if dtype == pl.String:
            lengths = column.str.len_chars()
            several += [lengths.min().alias(f"minimum:{name}"), lengths.max().alias(f"maximum:{name}")]
        return several
    if dtype.is_float():
        several.append(column.is_infinite().sum().alias(f"infinite:{name}"))
    ordered = pl.col(_ordered(name))
    several += [
        number.mean().alias(f"mean:{name}"),
        number.std().alias(f"std:{name}"),
        (number.diff() < 0).any(ignore_nulls=True).not_().alias(f"sorted:{name}"),
        _nearest(ordered).alias(f"quantiles:{name}"),
        ordered.min().alias(f"minimum:{name}"),
        ordered.max().alias(f"maximum:{name}"),
    ]
    return several


def _ordered(name: str) -> str:
    return f"\0ordered:{name}"


def _nearest(ordered: pl.Expr) -> pl.Expr:
    """Give the values nearest to `QUANTILES` of a sorted expression with its nulls first, as one list."""
    # polars' own quantile takes quadratic time in the number of such expressions in one query.
    place = (pl.lit(pl.Series(QUANTILES)) * (ordered.count() - 1)).round() + ordered.null_count()
    return ordered.gather(place.cast(pl.Int64).clip(0, ordered.len() - 1)).implode()


def _column(name: str, dtype: pl.DataType, found: dict[str, Any]) -> ColumnProfile:
    nulls = int(found[f"nulls:{name}"])
    quantiles = found.get(f"quantiles:{name}") or []
    top = [entry for entry in found.get(f"top:{name}") or [] if entry[_LEVEL] is not None][:_TOP]
    return ColumnProfile(
        name=name,
        type=type_name(dtype),
        nulls=nulls,
        distinct=max(0, int(found.get(f"distinct:{name}") or 0) - (nulls > 0)),
        infinite=int(found.get(f"infinite:{name}") or 0),
        minimum=_number(found.get(f"minimum:{name}")),
        maximum=_number(found.get(f"maximum:{name}")),
        mean=_number(found.get(f"mean:{name}")),
        std=_number(found.get(f"std:{name}")),
        quantiles=[float(q) for q in quantiles if q is not None],
        top=[LevelCount(entry[_LEVEL], int(entry[_COUNT])) for entry in top],
        sorted=bool(found.get(f"sorted:{name}")),
    )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _instant(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def plain(value: Any) -> Any:
    """Give a value of a row as JSON can carry it: instants in ISO form, bytes by their length, infinities as text."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return str(value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
