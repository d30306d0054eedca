"""Features of keys at instants, from a history of events: one computation for training sets and online values."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from mainspring.core.errors import InvalidData
from mainspring.core.units import parse_duration
from mainspring.features.model import Feature, FeatureView

Places = npt.NDArray[np.int64]
_NUMBERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Float32, pl.Float64, pl.Boolean)
_GROUP, _TIME = "\0group", "\0time"


class Computed(msgspec.Struct, frozen=True):
    """A column for each feature, a value for each question, and the time (us) of the latest event of each."""

    columns: list[pl.Series]
    event_us: pl.Series


class _Timeline(msgspec.Struct, frozen=True):
    """Events and questions as numbers that sort by key, then instant.

    ``pool`` are all instants in question; a place is ``group * len(pool) + rank of the instant``.
    """

    events: Places
    pool: Places
    groups: Places
    instants: Places

    def places(self, instants: Places) -> Places:
        """Give how many events stand at or before the given instant of each question's key, or before that key."""
        ranks = np.searchsorted(self.pool, instants)
        return np.searchsorted(self.events, self.groups * self.pool.size + ranks, side="right").astype(np.int64)

    def starts(self) -> Places:
        """Give how many events stand before each question's key."""
        return np.searchsorted(self.events, self.groups * self.pool.size, side="left").astype(np.int64)


def compute(view: FeatureView, history: pl.DataFrame, questions: pl.DataFrame, time_column: str) -> Computed:
    """Give the features of each question (the key columns of the view and an instant *time_column*), in their order.

    Only events of the same key with event time <= the instant count; see `Feature`. Events without a key or a time are
    left out; a question without one knows nothing. Raises InvalidData for columns that are missing or cannot be
    compared, and for an aggregate of something that is no number.
    """
    spans = [span_of(feature, view) for feature in view.features]
    events, asked = _prepared(view, history, questions, time_column)
    order = asked.with_row_index("\0row").sort(_GROUP, _TIME, nulls_last=True)
    timeline = _timeline(events, order, [span for span in spans if span is not None])
    known = order.select((pl.col(_GROUP).is_not_null() & pl.col(_TIME).is_not_null()).alias("known")).to_series()
    ends = np.where(known.to_numpy(), timeline.places(timeline.instants), 0)
    back = np.argsort(order.get_column("\0row").to_numpy())
    columns = []
    for feature, span in zip(view.features, spans, strict=True):
        starts = timeline.starts() if span is None else timeline.places(timeline.instants - microseconds(span))
        starts = np.minimum(np.maximum(starts, timeline.starts()), ends)
        values = _aggregate(events.get_column(feature.column), feature, starts, ends)
        columns.append(values.gather(back).alias(feature.name))
    newest = _last(events.get_column(_TIME), np.minimum(timeline.starts(), ends), ends)
    return Computed(columns, newest.gather(back).alias("event_us"))


def span_of(feature: Feature, view: FeatureView) -> timedelta | None:
    """Give the length of the interval that a feature looks at; None when it has no beginning."""
    text = feature.window or view.max_age
    return None if text is None else parse_duration(text)


def microseconds(span: timedelta) -> int:
    """Give a duration in whole microseconds."""
    return span // timedelta(microseconds=1)


def _prepared(
    view: FeatureView, history: pl.DataFrame, questions: pl.DataFrame, time_column: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    wanted = dict.fromkeys([*view.keys, view.time_column, *(feature.column for feature in view.features)])
    _need(history, list(wanted), f"the dataset of {view.ref}")
    _need(questions, [*view.keys, time_column], "the labels")
    for name in view.keys:
        if history.schema[name] != questions.schema[name]:
            questions = _same_type(questions, name, history.schema[name])
    kept = history.select(list(wanted)).with_columns(_micros(history, view.time_column))
    # Online, a decimal would be read as text: it is a float here, and so in training sets too.
    kept = kept.drop_nulls([*view.keys, _TIME]).with_columns(pl.selectors.decimal().cast(pl.Float64))
    groups = kept.select(view.keys).unique(maintain_order=True).with_row_index(_GROUP)
    groups = groups.with_columns(pl.col(_GROUP).cast(pl.Int64))
    events = kept.join(groups, on=view.keys, how="left", maintain_order="left")
    # Sorting keeps the order of the dataset among events of one instant: the later row is the later event.
    events = events.sort(_GROUP, _TIME, maintain_order=True)
    asked = questions.select(*view.keys, _micros(questions, time_column))
    asked = asked.join(groups, on=view.keys, how="left", maintain_order="left")
    return events, asked


def _need(frame: pl.DataFrame, names: Sequence[str], what: str) -> None:
    if absent := [name for name in names if name not in frame.columns]:
        raise InvalidData(f"{what} has no column {', '.join(absent)}", columns=absent)


def _same_type(frame: pl.DataFrame, name: str, dtype: pl.DataType) -> pl.DataFrame:
    try:
        return frame.with_columns(pl.col(name).cast(dtype))
    except pl.exceptions.PolarsError:
        raise InvalidData(
            f"the key column {name!r} of the labels is {frame.schema[name]} and cannot be compared with {dtype}",
            column=name,
        ) from None


def _micros(frame: pl.DataFrame, name: str) -> pl.Expr:
    dtype = frame.schema[name]
    if isinstance(dtype, pl.Datetime):
        return pl.col(name).dt.epoch("us").alias(_TIME)
    if dtype == pl.Date:
        return pl.col(name).cast(pl.Datetime("us")).dt.epoch("us").alias(_TIME)
    raise InvalidData(f"the time column {name!r} is {dtype}: expected instants or dates", column=name)


def _timeline(events: pl.DataFrame, asked: pl.DataFrame, spans: Sequence[timedelta]) -> _Timeline:
    instants = asked.get_column(_TIME).fill_null(0).to_numpy().astype(np.int64)
    groups = asked.get_column(_GROUP).fill_null(0).to_numpy().astype(np.int64)
    times = events.get_column(_TIME).to_numpy().astype(np.int64)
    pool = np.unique(np.concatenate([times, instants, *(instants - microseconds(span) for span in {*spans})]))
    places = events.get_column(_GROUP).to_numpy().astype(np.int64) * pool.size + np.searchsorted(pool, times)
    return _Timeline(places, pool, groups, instants)


def _aggregate(column: pl.Series, feature: Feature, starts: Places, ends: Places) -> pl.Series:
    if feature.aggregate == "last":
        return _last(column, starts, ends)
    present = column.is_not_null()
    counts_before = np.concatenate(([0], np.cumsum(present.to_numpy(), dtype=np.int64)))
    low, high = counts_before[starts], counts_before[ends]
    count = high - low
    if feature.aggregate == "count":
        return pl.Series(count, dtype=pl.Int64)
    if column.dtype not in _NUMBERS:
        raise InvalidData(
            f"feature {feature.name!r} is the {feature.aggregate} of column {feature.column!r}, which is "
            f"{column.dtype}: expected numbers",
            feature=feature.name,
        )
    wide = pl.Float64 if column.dtype.is_float() else pl.Int64
    values = column.drop_nulls().cast(wide).to_numpy()
    result: npt.NDArray[Any] = _reduce(values, feature.aggregate, low, high)
    if feature.aggregate == "mean":
        result = result / np.maximum(count, 1)
    return pl.Series(result).set(pl.Series(count == 0), None)


def _last(column: pl.Series, starts: Places, ends: Places) -> pl.Series:
    places = pl.Series(np.where(ends > starts, ends - 1, -1))
    return column.gather(places.set(places < 0, None))


_REDUCERS = {"sum": np.add, "mean": np.add, "min": np.minimum, "max": np.maximum}


def _reduce(values: npt.NDArray[Any], aggregate: str, low: Places, high: Places) -> npt.NDArray[Any]:
    """Reduce ``values[low:high]`` for each pair; pairs that are empty give something that means nothing."""
    if not low.size:
        return values[:0]
    # reduceat takes the bounds in a row and needs each to be a valid index: one value more stands for the end. The
    # values between one pair and the next are reduced too, and thrown away; pairs come sorted, so these are few.
    padded = np.append(values, values.dtype.type(0))
    bounds = np.stack((low, high), axis=1).ravel()
    with np.errstate(over="ignore", invalid="ignore"):
        reduced: npt.NDArray[Any] = _REDUCERS[aggregate].reduceat(padded, bounds)[::2]
    return reduced
