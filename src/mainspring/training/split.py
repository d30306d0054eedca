"""Which rows are learned from and which the candidates are judged on: the later rows when there is a time."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import numpy as np
import polars as pl

from mainspring.core.errors import InvalidData, InvalidRequest
from mainspring.registry.quality import Array

VALIDATION_SHARE = 0.2
_FEWEST_RECENT, _FEW_RECENT = 30, 1_000
_BLOCKS, _TURNS = 12, 3


class RowRange(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of a dataset to use: by number, and by the time column; both ends as in [from, until).

    Row numbers count from 0 in the order of the dataset.
    """

    first: int | None = None
    end: int | None = None
    since: datetime | None = None
    until: datetime | None = None


class Split(msgspec.Struct, frozen=True):
    """Row numbers to learn from and to judge on, and the age of each learning row from 0 (newest) to 1 (oldest)."""

    learn: Array
    judge: Array
    age: Array | None = None


def select_rows(frame: pl.DataFrame, rows: RowRange, time: str | None) -> pl.DataFrame:
    """Keep the rows of a range; raises InvalidRequest for a range by time without a time column."""
    if rows.first is not None or rows.end is not None:
        first = rows.first or 0
        frame = frame.slice(first, None if rows.end is None else max(0, rows.end - first))
    if rows.since is None and rows.until is None:
        return frame
    if time is None:
        raise InvalidRequest("rows are to be chosen by time, but no time column is named; name it, or choose by number")
    moments = instants(frame[time])
    keep = moments.is_not_null()
    if rows.since is not None:
        keep &= moments >= _utc(rows.since)
    if rows.until is not None:
        keep &= moments < _utc(rows.until)
    return frame.filter(keep)


def instants(series: pl.Series) -> pl.Series:
    """Give a time column as datetimes in UTC; raises InvalidData for numbers, whose unit is not known, and for text."""
    if series.dtype == pl.Date:
        return series.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if series.dtype == pl.Datetime:
        naive = series.dtype.time_zone is None  # type: ignore[attr-defined]
        return series.dt.replace_time_zone("UTC") if naive else series.dt.convert_time_zone("UTC")
    raise InvalidData(
        f"the time column {series.name!r} has the type {series.dtype}; expected dates or datetimes: import it as "
        "such, or name another one"
    )


def split_by_time(moments: pl.Series) -> Split | None:
    """Judge on the latest fifth: no row that is learned from is later than, or at the time of, one that is judged.

    None when the times cannot be told apart enough to leave both parts a tenth of the rows.
    """
    at = moments.cast(pl.Int64).to_numpy()
    order = np.sort(at)
    cut = order[int(len(at) * (1 - VALIDATION_SHARE))]
    learn, judge = np.flatnonzero(at < cut), np.flatnonzero(at >= cut)
    if min(len(learn), len(judge)) < len(at) / 10:
        return None
    return Split(learn, judge, ages(at[learn]))


def split_recent(at: Array, since: float) -> list[Split]:
    """Judge on blocks of the rows from *since* on, and learn from all others: older rows, and the blocks between.

    After a sudden change the older rows alone cannot tell what holds now. Few recent rows are all judged, by turns.
    No split when there are fewer than thirty.
    """
    order = np.argsort(at, kind="stable")
    recent = order[np.searchsorted(at[order], since) :]
    if len(recent) < _FEWEST_RECENT or len(recent) == len(at):
        return []
    block = np.arange(len(recent)) // max(1, len(recent) // _BLOCKS) % _TURNS
    turns = range(_TURNS) if len(recent) <= _FEW_RECENT else [_TURNS - 1]
    splits = []
    for turn in turns:
        judge = np.sort(recent[block == turn])
        learn = np.setdiff1d(np.arange(len(at)), judge, assume_unique=True)
        splits.append(Split(learn, judge, ages(at[learn])))
    return splits


def split_at_random(truth: Array, classes: int, seed: int, *, folds: int = 1) -> list[Split]:
    """Judge on random rows, of each class the same share: on a fifth, or on each of several folds in turn."""
    rng = np.random.default_rng(seed)
    strata = [np.flatnonzero(truth == c) for c in range(classes)] if classes else [np.arange(len(truth))]
    parts = folds if folds > 1 else round(1 / VALIDATION_SHARE)
    fold = np.empty(len(truth), dtype=int)
    first = 0
    for rows in strata:
        # Each stratum goes on where the one before stopped, so that small classes do not all fall into fold 0.
        fold[rng.permutation(rows)] = (np.arange(len(rows)) + first) % parts
        first += len(rows)
    return [Split(np.flatnonzero(fold != part), np.flatnonzero(fold == part)) for part in range(folds)]


def ages(at: Array) -> Array:
    """Give how old each moment is, 0 for the newest and 1 for the oldest."""
    span = max(int(at.max() - at.min()), 1)
    return np.asarray((at.max() - at) / span)


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
