"""The column types that a dataset can have, by our own names, and how frames are brought to them without loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from mainspring.core.errors import InvalidData, InvalidRequest
from mainspring.datasets.model import Column

_NAMES: dict[str, pl.DataType] = {
    "int8": pl.Int8(),
    "int16": pl.Int16(),
    "int32": pl.Int32(),
    "int64": pl.Int64(),
    "float32": pl.Float32(),
    "float64": pl.Float64(),
    "boolean": pl.Boolean(),
    "string": pl.String(),
    "binary": pl.Binary(),
    "date": pl.Date(),
    "datetime": pl.Datetime("us", "UTC"),
}
_BY_TYPE = {dtype: name for name, dtype in _NAMES.items()}
INTEGERS = ("int8", "int16", "int32", "int64")
NUMBERS = (*INTEGERS, "float32", "float64")
_NOT_NESTED = (pl.Null, pl.Duration, pl.Time, pl.Object, pl.Int128)
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896  # of the years 1 to 9999, counted from 1970-01-01
_PER_DAY = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
_LARGEST = {"int8": 2**7, "int16": 2**15, "int32": 2**31, "int64": 2**63}


def type_name(dtype: pl.DataType) -> str:
    """Give the name of a type in a canonical frame: ``int64``, ``datetime``, or polars' own for nested ones."""
    return _BY_TYPE.get(dtype) or str(dtype).lower()


def data_type(name: str) -> pl.DataType:
    """Give the polars type of a name; raises InvalidRequest for an unknown one."""
    try:
        return _NAMES[name]
    except KeyError:
        raise InvalidRequest(f"unknown column type {name!r}; known: {', '.join(_NAMES)}") from None


def columns_of(frame: pl.DataFrame) -> list[Column]:
    """List the columns of a canonical frame."""
    return [Column(name, type_name(dtype)) for name, dtype in frame.schema.items()]


def check_column_names(names: Sequence[str]) -> None:
    """Raise InvalidData for a name that is empty, stands twice, differs only in case, or would stand for several."""
    seen: dict[str, int] = {}
    for position, name in enumerate(names, 1):
        if not name:
            raise InvalidData(f"column {position} has no name: every column needs one", position=position)
        if name == "*" or (name.startswith("^") and name.endswith("$")):
            raise InvalidData(f"a column cannot be called {name!r}: it would stand for several columns", column=name)
        if (first := seen.get(name)) is not None:
            raise InvalidData(
                f"two columns are called {name!r} (columns {first} and {position}): rename one of them",
                column=name,
                positions=[first, position],
            )
        seen[name] = position
    folded: dict[str, str] = {}
    for name in names:
        if (other := folded.setdefault(name.lower(), name)) != name:
            raise InvalidData(
                f"the columns {other!r} and {name!r} differ only in upper and lower case, which tables do not tell "
                "apart: rename one of them",
                column=name,
            )


def canonical(frame: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Bring every column to a type of a dataset; gives the frame and what is worth a warning.

    Names are trimmed. NaN becomes null: a missing value has one form. Instants become microseconds in UTC, those
    without a zone being taken as UTC. Unsigned integers become signed, categories become text, a column without any
    value becomes text. Raises InvalidData for names that clash, for values that no type can hold, and for days outside
    of the years 1 to 9999.
    """
    if not frame.width:
        raise InvalidData("the table has no columns: expected rows with at least one")
    names = [name.strip() for name in frame.columns]
    check_column_names(names)
    warnings: list[str] = []
    done = [
        _canonical_column(series.alias(name), warnings) for name, series in zip(names, frame.get_columns(), strict=True)
    ]
    return pl.DataFrame(done), warnings


def _canonical_column(series: pl.Series, warnings: list[str]) -> pl.Series:
    dtype = series.dtype
    if dtype.is_temporal():
        _check_calendar(series)
    if dtype in _BY_TYPE:
        return series.fill_nan(None) if dtype.is_float() else series
    convert = _CONVERSIONS.get(type(dtype))
    if convert is not None:
        return convert(series, warnings)
    if dtype.is_decimal() or (dtype.is_nested() and _can_be_held(dtype)):
        return series
    raise InvalidData(
        f"column {series.name!r} has the type {dtype}, which a dataset cannot hold: make it text or numbers first, or "
        "leave it out",
        column=series.name,
        type=str(dtype),
    )


def _can_be_held(dtype: pl.DataType) -> bool:
    """Tell whether a table can hold the type within lists and structs."""
    if isinstance(dtype, pl.List | pl.Array):
        return _can_be_held(dtype.inner)  # type: ignore[arg-type]
    if isinstance(dtype, pl.Struct):
        return bool(dtype.fields) and all(_can_be_held(field.dtype) for field in dtype.fields)  # type: ignore[arg-type]
    return not isinstance(dtype, _NOT_NESTED)


def _check_calendar(series: pl.Series) -> None:
    """Raise InvalidData for a day outside of the years that Python and SQL know; polars and Parquet have many more."""
    if not isinstance(series.dtype, pl.Date | pl.Datetime):
        return
    days = series.to_physical()
    if isinstance(series.dtype, pl.Datetime):
        days = days // _PER_DAY[series.dtype.time_unit]
    outside = ((days < _FIRST_DAY) | (days > _LAST_DAY)).fill_null(False)
    if outside.any():
        raise InvalidData(
            f"column {series.name!r} has a date outside of the years 1 to 9999, first in row "
            f"{int(outside.arg_max() or 0) + 1}: repair it, or leave it empty",
            column=series.name,
        )


def _wide(series: pl.Series, warnings: list[str]) -> pl.Series:
    try:
        return series.cast(pl.Int64)
    except pl.exceptions.InvalidOperationError:
        row = (series > 2**63 - 1).arg_max()
        raise InvalidData(
            f"column {series.name!r} has an integer that 64 bits with a sign cannot hold, first in row "
            f"{(row or 0) + 1}: store it as text",
            column=series.name,
        ) from None


def _empty(series: pl.Series, warnings: list[str]) -> pl.Series:
    warnings.append(f"column {series.name!r} has no value at all: kept as text")
    return series.cast(pl.String)


def _instant(series: pl.Series, warnings: list[str]) -> pl.Series:
    dtype = series.dtype
    micro = series.cast(pl.Datetime("us", getattr(dtype, "time_zone", None)))
    if getattr(dtype, "time_zone", None) is None:
        return micro.dt.replace_time_zone("UTC")
    return micro.dt.convert_time_zone("UTC")


def _duration(series: pl.Series, warnings: list[str]) -> pl.Series:
    warnings.append(f"column {series.name!r} is a duration: kept as a number of seconds")
    return series.dt.total_microseconds() / 1e6


def _to(dtype: pl.DataType) -> Callable[[pl.Series, list[str]], pl.Series]:
    return lambda series, warnings: series.cast(dtype)


_CONVERSIONS: dict[type[pl.DataType], Callable[[pl.Series, list[str]], pl.Series]] = {
    pl.UInt8: _to(pl.Int16()),
    pl.UInt16: _to(pl.Int32()),
    pl.UInt32: _to(pl.Int64()),
    pl.UInt64: _wide,
    pl.Int128: _wide,
    pl.Categorical: _to(pl.String()),
    pl.Enum: _to(pl.String()),
    pl.Time: _to(pl.String()),
    pl.Null: _empty,
    pl.Datetime: _instant,
    pl.Duration: _duration,
}
if hasattr(pl, "Float16"):  # newer than the oldest polars that is accepted
    _CONVERSIONS[pl.Float16] = lambda series, warnings: series.cast(pl.Float32).fill_nan(None)


def conform(series: pl.Series, wanted: str) -> pl.Series | None:
    """Give the series as the type *wanted* when no value changes by it; None when one would.

    Integers may change width and become floats (up to 2^53), floats may change width upward, a float column whose
    values are all whole may become integers, dates may become midnights in UTC, and a column without values anything.
    """
    actual = type_name(series.dtype)
    if actual == wanted:
        return series
    if wanted not in _NAMES:
        return None
    if series.null_count() == len(series):
        return pl.Series(series.name, [None] * len(series), dtype=_NAMES[wanted])
    if actual in NUMBERS and wanted in NUMBERS:
        return _as_number(series, wanted)
    if actual == "date" and wanted == "datetime":
        return _instant(series, [])
    return None


def _as_number(series: pl.Series, wanted: str) -> pl.Series | None:
    largest = float(2**53) if wanted == "float64" else float(2**24) if wanted == "float32" else float(_LARGEST[wanted])
    if series.dtype.is_float() and wanted in ("float32", "float64"):
        return series.cast(pl.Float64) if wanted == "float64" else None
    low, high = series.min(), series.max()
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        return None
    if not -largest <= low <= high <= largest or (wanted in INTEGERS and high == largest):
        return None
    cast = series.cast(_NAMES[wanted], strict=False)
    same = cast.cast(series.dtype, strict=False).eq_missing(series).all()
    return cast if same else None
