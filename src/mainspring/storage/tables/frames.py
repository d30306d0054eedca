"""Frames on their way into a table: types that it can hold, columns that it has."""

from __future__ import annotations

import polars as pl

from mainspring.core.errors import InvalidData

_WIDER: dict[type[pl.DataType], type[pl.DataType]] = {
    pl.UInt8: pl.Int16,
    pl.UInt16: pl.Int32,
    pl.UInt32: pl.Int64,
    pl.UInt64: pl.Int64,
}
_AS_TEXT = (pl.Categorical, pl.Enum)


def storable(frame: pl.DataFrame) -> pl.DataFrame:
    """Give the frame with column types that a table holds; raises InvalidData, naming the columns, where none does.

    A column of only nulls without a type stays as it is: see `new_table` and `fitting`.
    """
    schema = frame.schema  # a frame makes it anew each time, which is slow for thousands of columns
    wanted = {name: _stored_type(name, kind) for name, kind in schema.items()}
    changed = [name for name, kind in wanted.items() if kind != schema[name]]
    try:
        return frame.with_columns(pl.col(name).cast(wanted[name], strict=True) for name in changed)
    except pl.exceptions.InvalidOperationError as error:
        raise InvalidData(f"a value does not fit a signed 64-bit integer: {error}", columns=changed) from None


def new_table(frame: pl.DataFrame) -> pl.DataFrame:
    """Give a storable frame as the first version of a table: a column of only nulls is text."""
    if not frame.width:
        raise InvalidData("a table has at least one column; this frame has none")
    return frame.with_columns(pl.col(name).cast(pl.String) for name in _untyped(frame))


def fitting(frame: pl.DataFrame, schema: pl.Schema, name: str) -> pl.DataFrame:
    """Give a storable frame with the columns of the table, in its order; raises InvalidData, naming what differs."""
    actual = frame.schema
    missing = [column for column in schema if column not in actual]
    unknown = [column for column in actual if column not in schema]
    nulls = set(_untyped(frame))
    other = [
        f"{column} is {actual[column]} where the table has {kind}"
        for column, kind in schema.items()
        if column in actual and column not in nulls and actual[column] != kind
    ]
    if missing or unknown or other:
        said = [f"missing: {', '.join(missing)}"] if missing else []
        said += [f"not in the table: {', '.join(unknown)}"] if unknown else []
        raise InvalidData(
            f"the frame does not fit table {name}: {'; '.join(said + other)}",
            missing=missing,
            unknown=unknown,
            other=other,
        )
    return frame.select(pl.col(column).cast(kind) if column in nulls else column for column, kind in schema.items())


def _untyped(frame: pl.DataFrame) -> list[str]:
    return [name for name, kind in frame.schema.items() if kind == pl.Null]


def _stored_type(column: str, kind: pl.DataType) -> pl.DataType:
    if isinstance(kind, _AS_TEXT):
        return pl.String()
    if wider := _WIDER.get(type(kind)):
        return wider()
    if isinstance(kind, pl.Datetime):
        return pl.Datetime("us", "UTC" if kind.time_zone else None)
    if isinstance(kind, pl.List | pl.Array):
        return pl.List(_stored_type(column, kind.inner))  # type: ignore[arg-type]
    if isinstance(kind, pl.Struct):
        return pl.Struct({field.name: _stored_type(column, field.dtype) for field in kind.fields})  # type: ignore[arg-type]
    if isinstance(kind, pl.Duration | pl.Time | pl.Int128 | pl.Object):
        raise InvalidData(
            f"a table cannot hold column {column} of type {kind}: cast it to an integer or to text", columns=[column]
        )
    return kind
