"""Rows for learning: what was logged as a table again, and which rows are set aside for the gate."""

from __future__ import annotations

import msgspec
import polars as pl

from mainspring.predictions.log import Logged

_NEWEST_SHARE = 0.15
_FEWEST = 15
_ASIDE_EVERY = 3


def logged_rows(logged: Logged, known: pl.DataFrame, *, target: str, time: str | None) -> pl.DataFrame | None:
    """Give labelled live traffic in the columns and types of *known*, in the order of time; None when there is none.

    Columns that the model does not take were not sent, so they are left out here, and of *known* when both are joined.
    The time column comes from the event times when the model does not take it.
    """
    if logged.rows.is_empty():
        return None
    labels = [msgspec.json.decode(text) for text in logged.rows["label"]]
    frame = logged.features.with_columns(pl.Series(target, labels, strict=False))
    if time is not None and time not in frame.columns and known[time].dtype.is_temporal():
        frame = frame.with_columns(logged.rows["event_time"].alias(time))
    columns = [name for name in known.columns if name in frame.columns]
    frame = frame.select(_cast(frame[name], known[name].dtype) for name in columns)
    return _in_order(frame, logged.rows).filter(pl.col(target).is_not_null())


def _in_order(frame: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    at = rows.select(pl.coalesce("event_time", "at").alias("at"), pl.col("prediction_id"))
    return frame[at.with_row_index("row").sort("at", "prediction_id")["row"]]


def _cast(series: pl.Series, dtype: pl.DataType) -> pl.Series:
    if series.dtype == dtype:
        return series
    if isinstance(dtype, pl.Datetime) and isinstance(series.dtype, pl.Datetime):
        naive = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if series.dtype.time_zone else series
        zoned = naive.dt.replace_time_zone("UTC").dt.convert_time_zone(dtype.time_zone) if dtype.time_zone else naive
        return zoned.cast(dtype)
    return series.cast(dtype, strict=False)


def newest_aside(frame: pl.DataFrame, most: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split rows in time order into those that the first model learns from and the newest, on which it is judged."""
    count = min(max(int(frame.height * _NEWEST_SHARE), _FEWEST), max(most, _FEWEST), frame.height // 2)
    return frame[: frame.height - count], frame[frame.height - count :]


def blocks_aside(
    frame: pl.DataFrame, known: int, *, recent: int, most_recent: int, block: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split rows in time order into those to learn from and those that the gate judges on.

    Behind the first *known* rows, every third block of *block* rows is set aside: after a sudden change both parts then
    have rows from after it, and neighbours in time mostly stay together. The gate gets those among the *recent* rows.
    Nobody learns from one that is among the *most_recent*, so that a champion which learned at some time before has not
    seen the rows on which the next candidate is compared with it.
    """
    row = pl.int_range(pl.len())
    aside = ((row - known) // block % _ASIDE_EVERY == _ASIDE_EVERY - 1) & (row >= known)
    return (
        frame.filter(~(aside & (row >= frame.height - most_recent))),
        frame.filter(aside & (row >= frame.height - min(recent, most_recent))),
    )
