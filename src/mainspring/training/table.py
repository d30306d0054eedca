"""The rows of a training, ready to be learned from: what is predicted, from which columns, judged on which rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
import polars as pl

from mainspring.core.errors import InvalidData
from mainspring.registry.quality import Array, default_metric, metric_named
from mainspring.registry.signature import Task
from mainspring.training.columns import MAX_COLUMNS, Column, inspect, most_telling
from mainspring.training.split import (
    RowRange,
    Split,
    ages,
    instants,
    select_rows,
    split_at_random,
    split_by_time,
    split_recent,
)
from mainspring.training.target import Target, drop_unknown, read_target

SEARCH_ROWS, SEARCH_CELLS = 30_000, 6_000_000
FIT_CELLS = 60_000_000
FEW_ROWS, FOLDS = 2_000, 4
_TAKEN_NAMES = ("label", "probabilities", "prediction")


class LearningTable(msgspec.Struct, frozen=True, kw_only=True):
    """Rows in the order of the dataset, without those whose target is not known; ``moments`` are their times."""

    frame: pl.DataFrame
    target: Target
    truth: Array
    metric: str
    columns: list[Column]
    dropped: dict[str, str]
    warnings: list[str]
    time: str | None
    moments: Array | None

    @property
    def classes(self) -> int:
        """Give the number of classes, 0 of numbers."""
        return len(self.target.classes or [])


def read_table(
    frame: pl.DataFrame,
    target: str,
    *,
    time: str | None,
    key: Sequence[str],
    metric: str | None,
    task: Task | None,
    rows: RowRange,
    ordered: bool = False,
) -> LearningTable:
    """Make a frame ready to be learned from. *ordered* says that without *time* the order of the rows is that in time.

    Raises InvalidData when it cannot be (see `target.read_target`, or no column is left), InvalidRequest for a metric
    that does not fit the task.
    """
    for name in [*([time] if time else []), *key]:
        if name not in frame.columns:
            raise InvalidData(
                f"there is no column {name!r}; the columns are {', '.join(frame.columns[:20])}", column=name
            )
    warnings: list[str] = []
    frame, unknown = drop_unknown(select_rows(frame, rows, time), target)
    if unknown:
        warnings.append(f"{unknown} rows without a target were left out")
    moments = np.arange(frame.height) if ordered else None
    if time is not None:
        frame, moments = _timed(frame, time, warnings)
    found = read_target(frame, target, task)
    truth = found.encode(frame[target])
    chosen = metric or default_metric(found.task, _minority(truth, len(found.classes or [])))
    metric_named(chosen, found.task)
    # What stands still so far may move later: a model in time takes it, so that it is logged and can be learned then.
    constants = moments is not None
    counted = time is not None and time != target and frame[time].dtype.is_numeric()
    usable = frame.drop(time) if counted and time else frame
    columns, dropped = _columns(usable, target, key, truth, len(found.classes or []), warnings, constants)
    if counted and time:
        dropped[time] = "the time: its values lie beyond all that was learned by the time the model is used"
    return LearningTable(
        frame=frame.select([column.name for column in columns]),
        target=found,
        truth=truth,
        metric=chosen,
        columns=columns,
        dropped=dropped,
        warnings=warnings,
        time=time,
        moments=moments,
    )


def splits_of(
    table: LearningTable, seed: int, since: float | None = None
) -> tuple[Literal["time", "recent", "random", "folds"], list[Split]]:
    """Choose how candidates are judged: on later rows, on random ones, or by turns where there are few rows.

    With *since*, a moment, they are judged on blocks of the rows from then on, when there are enough of them.
    """
    if since is not None and table.moments is not None:
        recent = [split for split in split_recent(table.moments, since) if _learnable(table, split)]
        if recent:
            return "recent", recent
    if table.moments is not None:
        split = split_by_time(pl.Series(table.moments))
        if split is not None and _learnable(table, split):
            return "time", [split]
        table.warnings.append("the rows could not be split by time, so candidates were judged on random rows")
    if len(table.truth) < FEW_ROWS:
        return "folds", split_at_random(table.truth, table.classes, seed, folds=FOLDS)
    return "random", split_at_random(table.truth, table.classes, seed)


def for_search(table: LearningTable, seed: int) -> LearningTable:
    """Give a random part of the rows, in their order, small enough to be fitted many times."""
    most = min(SEARCH_ROWS, max(1_000, SEARCH_CELLS // max(1, len(table.columns))))
    if len(table.truth) <= most:
        return table
    return _part(table, np.sort(np.random.default_rng(seed).choice(len(table.truth), most, replace=False)))


def for_fit(table: LearningTable, most: int, seed: int) -> LearningTable:
    """Give at most *most* rows to fit the model on: the latest when there is a time, else random ones."""
    most = min(most, max(1_000, FIT_CELLS // max(1, len(table.columns))))
    if len(table.truth) <= most:
        return table
    if table.moments is not None:
        return _part(table, np.sort(np.argsort(table.moments, kind="stable")[-most:]))
    return _part(table, np.sort(np.random.default_rng(seed).choice(len(table.truth), most, replace=False)))


def ages_of(table: LearningTable) -> Array | None:
    """Give how old each row is, from 0 to 1; None without a time."""
    return None if table.moments is None else ages(table.moments)


def _part(table: LearningTable, rows: Array) -> LearningTable:
    moments = None if table.moments is None else table.moments[rows]
    return msgspec.structs.replace(table, frame=table.frame[rows], truth=table.truth[rows], moments=moments)


def _timed(frame: pl.DataFrame, time: str, warnings: list[str]) -> tuple[pl.DataFrame, Array]:
    known = frame[time].is_not_null()
    if not known.any():
        raise InvalidData(f"the time column {time!r} has no value in any row; name another one, or none", column=time)
    if not known.all():
        warnings.append(f"{int((~known).sum())} rows without a time were left out: they may be later than the others")
        frame = frame.filter(known)
    if frame[time].dtype.is_numeric():
        # Numbers tell the order, and not how far apart two of them are: their unit is not known.
        return frame, frame[time].rank("dense").cast(pl.Int64).to_numpy()
    return frame, instants(frame[time]).cast(pl.Int64).to_numpy()


def _minority(truth: Array, classes: int) -> float:
    return float(np.bincount(truth[truth >= 0], minlength=classes).min() / len(truth)) if classes else 0.5


def _learnable(table: LearningTable, split: Split) -> bool:
    return not table.classes or len(np.unique(table.truth[split.learn])) > 1


def _columns(
    frame: pl.DataFrame,
    target: str,
    key: Sequence[str],
    truth: Array,
    classes: int,
    warnings: list[str],
    constants: bool,
) -> tuple[list[Column], dict[str, str]]:
    clashing = [name for name in _TAKEN_NAMES if name in frame.columns and name != target]
    found = inspect(frame.drop(clashing), target, key=key, constants=constants)
    dropped = {**found.dropped, **dict.fromkeys(clashing, "an answer of the model has this name: rename the column")}
    warnings += found.warnings
    columns = found.columns
    if len(columns) > MAX_COLUMNS:
        columns = most_telling(frame, columns, truth, classes)
        kept = {column.name for column in columns}
        reason = f"one of {len(found.columns)} columns, {MAX_COLUMNS} of which tell more about the target"
        dropped |= {column.name: reason for column in found.columns if column.name not in kept}
        warnings.append(f"of {len(found.columns)} columns the {MAX_COLUMNS} that tell most were used")
    if not columns:
        why = "; ".join(f"{name}: {reason}" for name, reason in list(dropped.items())[:5]) or "there is no other column"
        raise InvalidData(f"no column is left to learn from ({why})")
    return columns, dropped
