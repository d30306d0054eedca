"""Which columns of a table a model can learn from, what kind each is, and why the others are left out."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec
import numpy as np
import polars as pl

from mainspring.registry.quality import Array
from mainspring.registry.signature import NULL_LONG, ColumnType, Field, Kind

MAX_COLUMNS = 500
_MIN_ROWS = 50
_LARGEST = np.float32(1e30)
_FREE_TEXT = 0.5
_UNCHANGING = "the same value in every row"
_LIKE_AN_ID = re.compile(r"(^|[_\W])(id|uuid|guid|key|index|rownum|row_number)$", re.IGNORECASE)
_CAMEL_ID = re.compile(r"[a-z0-9]I[Dd]$")


class Column(msgspec.Struct, frozen=True):
    """A column that the model takes; ``whole`` tells that it held integers and no nulls in training."""

    name: str
    kind: Kind
    whole: bool = False


class Inspection(msgspec.Struct, frozen=True):
    """The columns to learn from, the reason of each that is left out, and what a person should look at."""

    columns: list[Column]
    dropped: dict[str, str]
    warnings: list[str]


def inspect(frame: pl.DataFrame, target: str, *, key: Sequence[str] = (), constants: bool = False) -> Inspection:
    """Look at every column but the target. With *constants*, columns of one value are kept beside others."""
    columns: list[Column] = []
    dropped: dict[str, str] = {}
    warnings: list[str] = []
    unchanging: list[str] = []
    truth = frame[target]
    for series in frame.drop(target).get_columns():
        name = series.name
        reason = "a key of the rows" if name in key else _useless(series)
        if reason is None and _same(series, truth):
            reason = "it equals the target"
            warnings.append(f"{name!r} equals the target {target!r} in every row: left out, it would leak the answer")
        if reason == _UNCHANGING and constants:
            unchanging.append(name)
        elif reason is not None:
            dropped[name] = reason
            continue
        columns.append(Column(name, _kind(series.dtype), series.dtype.is_integer() and not series.null_count()))
        if (hint := _leak(series, truth)) is not None:
            warnings.append(hint)
    if len(columns) == len(unchanging):
        return Inspection([], dropped | dict.fromkeys(unchanging, _UNCHANGING), warnings)
    return Inspection(columns, dropped, warnings)


def arrays(frame: pl.DataFrame, columns: Sequence[Column]) -> dict[str, Array]:
    """Give each column as the model takes it: float32 with NaN, text with ``""``, or int64 milliseconds."""
    return {column.name: _array(frame[column.name], column.kind) for column in columns}


def fields(columns: Sequence[Column], levels: dict[str, list[str]]) -> list[Field]:
    """Give the inputs of the model's signature; numbers are ``double`` whether they were whole or not."""
    return [Field(c.name, _TYPES[c.kind], kind=c.kind, levels=levels.get(c.name)) for c in columns]


def strict_fields(columns: Sequence[Column], signature: Sequence[Field]) -> list[Field]:
    """Give the inputs as MLflow checks them: it refuses pandas' integers where a double is declared."""
    whole = {column.name for column in columns if column.whole and column.kind == "numeric"}
    return [
        msgspec.structs.replace(
            f, type="long" if f.name in whole else "datetime" if f.kind == "datetime" else f.type, levels=None
        )
        for f in signature
    ]


_TYPES: dict[Kind, ColumnType] = {
    "numeric": "double",
    "categorical": "string",
    "datetime": "long",
    "boolean": "boolean",
}


def _kind(dtype: pl.DataType) -> Kind:
    if dtype == pl.Boolean:
        return "boolean"
    if dtype in (pl.Date, pl.Datetime):
        return "datetime"
    return "numeric" if dtype.is_numeric() else "categorical"


def _useless(series: pl.Series) -> str | None:
    rows, values = len(series), len(series) - series.null_count()
    if values == 0:
        return "no row has a value"
    if series.dtype.is_nested() or series.dtype in (pl.Binary, pl.Object, pl.Time, pl.Duration):
        return f"values of the type {series.dtype} cannot be learned from"
    distinct = series.drop_nulls().n_unique()
    if distinct == 1 and values == rows:
        return _UNCHANGING
    if rows < _MIN_ROWS:
        return None
    if series.dtype == pl.String and distinct > max(_MIN_ROWS, _FREE_TEXT * values):
        return f"{distinct} different texts in {values} rows: an id or free text"
    if series.dtype.is_integer() and distinct == rows and _numbers_the_rows(series):
        return "a different number in every row: an id"
    return None


def _numbers_the_rows(series: pl.Series) -> bool:
    if _LIKE_AN_ID.search(series.name) or _CAMEL_ID.search(series.name):
        return True
    steps = series.diff().drop_nulls()
    return bool((steps == 1).all())


def _same(series: pl.Series, truth: pl.Series) -> bool:
    if series.dtype != truth.dtype and not (series.dtype.is_numeric() and truth.dtype.is_numeric()):
        return False
    return bool(series.eq_missing(truth.alias(series.name)).all())


def _leak(series: pl.Series, truth: pl.Series) -> str | None:
    if len(series) < _MIN_ROWS or series.dtype.is_temporal():
        return None
    if truth.dtype.is_float() and series.dtype.is_numeric():
        if abs(_correlation(series, truth)) > 0.9999:
            return f"{series.name!r} is almost exactly a line of the target: is it known before the target is?"
        return None
    classes = truth.n_unique()
    if classes > 50 or series.n_unique() != classes:
        return None
    if pl.struct([series.alias("a"), truth.alias("b")]).pipe(lambda pair: pl.select(pair.n_unique())).item() == classes:
        return f"{series.name!r} tells the target exactly: is it known before the target is?"
    return None


def _correlation(series: pl.Series, truth: pl.Series) -> float:
    value = pl.DataFrame({"a": series, "b": truth}).drop_nulls().select(pl.corr("a", "b")).item()
    return value if isinstance(value, float) and np.isfinite(value) else 0.0


def _array(series: pl.Series, kind: Kind) -> Array:
    if kind == "categorical":
        return series.cast(pl.String).fill_null("").to_numpy().astype(object)
    if kind == "datetime":
        return series.cast(pl.Datetime("ms")).cast(pl.Int64).fill_null(NULL_LONG).to_numpy()
    with np.errstate(over="ignore"):
        numbers = series.cast(pl.Float64).to_numpy().astype(np.float32)
    # Sums of numbers near the end of 32 bits overflow in the estimators; such a number is as good as missing.
    return np.where(np.abs(numbers) < _LARGEST, numbers, np.float32(np.nan))


def most_telling(frame: pl.DataFrame, columns: Sequence[Column], truth: Array, classes: int) -> list[Column]:
    """Keep the MAX_COLUMNS columns whose values go most with the target, by correlation, on up to 5,000 rows."""
    rows = np.linspace(0, len(frame) - 1, min(len(frame), 5_000)).astype(int)
    some, responses = frame[rows], _responses(truth[rows], classes)
    strength = [_strength(some[column.name], column.kind, responses) for column in columns]
    best = np.sort(np.argsort(strength, kind="stable")[-MAX_COLUMNS:])
    return [columns[place] for place in best]


def _responses(truth: Array, classes: int) -> Array:
    one_each = [truth] if classes <= 2 else [truth == place for place in range(classes)]
    centred = np.column_stack(one_each).astype(float)
    centred -= centred.mean(axis=0)
    return np.asarray(centred / np.maximum(centred.std(axis=0), 1e-12))


def _strength(series: pl.Series, kind: Kind, responses: Array) -> float:
    if kind == "categorical":
        # The share of variance between levels, less what as many meaningless levels would show.
        level = series.fill_null("").rank("dense").to_numpy().astype(int) - 1
        counts = np.bincount(level)
        means = np.stack([np.bincount(level, weights=r) / counts for r in responses.T])
        between = (means**2 * counts).sum(axis=1).max() / len(level)
        return float(np.sqrt(max(0.0, between - len(counts) / len(level))))
    values = series.cast(pl.Datetime("ms")).cast(pl.Int64) if kind == "datetime" else series
    numbers = values.cast(pl.Float64).to_numpy().copy()
    numbers[~np.isfinite(numbers)] = np.nan
    centred = np.nan_to_num(numbers - np.nanmean(numbers)) if np.isfinite(numbers).any() else np.zeros(len(numbers))
    spread = centred.std()
    return float(np.abs(centred @ responses).max() / len(centred) / spread) if spread > 0 else 0.0
