"""What is to be predicted: the task that a target column sets, its classes, and the target as numbers."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl

from mainspring.core.errors import InvalidData
from mainspring.registry.quality import Array, codes
from mainspring.registry.signature import Task

MIN_ROWS = 40
MAX_CLASSES = 100
_MIN_PER_CLASS = 5
_FEW_NUMBERS = 10


class Target(msgspec.Struct, frozen=True):
    """The target column as a task; ``classes`` is None for numbers, else in the order of their codes."""

    name: str
    task: Task
    classes: list[str | int] | None = None

    def encode(self, values: pl.Series) -> Array:
        """Give class codes (-1 for a value that is no class) or float64 numbers."""
        if self.classes is None:
            return values.cast(pl.Float64).to_numpy()
        return codes(values.to_list(), self.classes)


def read_target(frame: pl.DataFrame, name: str, task: Task | None = None) -> Target:
    """Tell from a column without nulls which task it sets, unless *task* says it.

    Text, booleans and up to ten different whole numbers are classes; other numbers are a quantity. Raises InvalidData,
    saying what stands in the way: no such column, too few rows, one class, too many classes, dates, another task.
    """
    if name not in frame.columns:
        known = ", ".join(frame.columns[:20])
        raise InvalidData(f"there is no column {name!r} to predict; the columns are {known}", target=name)
    series = frame[name]
    if series.null_count() == len(series):
        raise InvalidData(f"the target {name!r} has no value in any row; nothing can be learned", target=name)
    if not (series.dtype.is_numeric() or series.dtype in (pl.String, pl.Boolean)):
        raise InvalidData(
            f"the target {name!r} has the type {series.dtype}; expected numbers, text or booleans: import it as one of "
            "these, or name another column",
            target=name,
        )
    if len(series) < MIN_ROWS:
        raise InvalidData(f"{len(series)} rows have a target; at least {MIN_ROWS} are needed", rows=len(series))
    if series.n_unique() == 1:
        raise InvalidData(
            f"the target {name!r} is {series[0]!r} in every row; a model needs at least two different values",
            target=name,
        )
    if task == "regression" and not series.dtype.is_numeric():
        raise InvalidData(f"the target {name!r} has the type {series.dtype}; a regression needs numbers", target=name)
    if task == "regression" or (task is None and series.dtype.is_numeric() and not _few_whole_numbers(series)):
        return _quantity(series)
    found = _classes(series)
    if task is not None and found.task != task:
        raise InvalidData(f"the target {name!r} has {len(found.classes or [])} classes, which is no {task} task")
    return found


def drop_unknown(frame: pl.DataFrame, name: str) -> tuple[pl.DataFrame, int]:
    """Leave out the rows whose target is missing (or no number); gives the rest and how many were left out."""
    if name not in frame.columns:
        return frame, 0
    series = frame[name]
    known = series.is_not_null()
    if series.dtype.is_float():
        known &= series.is_finite().fill_null(False)
    kept = frame.filter(known)
    # A column of nulls is refused with its own message, so its rows stay.
    return (kept, len(frame) - len(kept)) if len(kept) else (frame, 0)


def _few_whole_numbers(series: pl.Series) -> bool:
    distinct = series.unique()
    if len(distinct) > _FEW_NUMBERS or len(series) < 5 * len(distinct):
        return False
    return bool((distinct.cast(pl.Float64) % 1 == 0).all())


def _quantity(series: pl.Series) -> Target:
    largest = float(series.cast(pl.Float64).abs().max() or 0)  # type: ignore[arg-type]
    if not np.isfinite(largest) or largest > 1e30:
        raise InvalidData(f"the target {series.name!r} reaches {largest:g}, which cannot be learned; rescale it")
    return Target(series.name, "regression")


def _classes(series: pl.Series) -> Target:
    counts = series.alias("class").value_counts(name="rows").sort("class")
    found = len(counts)
    if found > MAX_CLASSES:
        raise InvalidData(
            f"the target {series.name!r} has {found} different values; up to {MAX_CLASSES} classes can be told apart, "
            "or give it as numbers",
            classes=found,
        )
    rare = counts.filter(pl.col("rows") < _MIN_PER_CLASS)
    if len(counts) - len(rare) < 2:
        raise InvalidData(
            f"the target {series.name!r} has fewer than two classes of at least {_MIN_PER_CLASS} rows: "
            f"{dict(counts.rows()[:5])}; more rows are needed"
        )
    values = [value if isinstance(value, str) else int(value) for value in counts["class"].to_list()]
    if (alike := np.flatnonzero(codes(values, values) != np.arange(found))).size:
        pair = values[alike[0]], values[int(codes([values[alike[0]]], values)[0])]
        raise InvalidData(
            f"the target {series.name!r} has the classes {pair[0]!r} and {pair[1]!r}, which labels do not tell apart: "
            "spell them differently"
        )
    return Target(series.name, "binary" if found == 2 else "multiclass", values)
