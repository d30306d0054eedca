"""The user's table as the loop sees it: ordered in time, split into what is known at the start and what comes later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from mainspring.core.errors import InvalidData, InvalidRequest
from mainspring.core.units import parse_duration
from mainspring.datasets.model import ReadOptions
from mainspring.datasets.reading import read_file

MIN_ROWS = 100
_KNOWN_SHARE = 0.4
_MIN_KNOWN = 60
_WINDOWS = 40
_MIN_WINDOW = 50
_MAX_REQUESTS = 40_000


class Window(msgspec.Struct, frozen=True):
    """One span of the replayed rows: its number and its first and last row (exclusive), counted in the later part."""

    number: int
    start: int
    stop: int


class Split(msgspec.Struct, frozen=True):
    """A table in time order: ``earlier`` trains the first champion, ``later`` is replayed as traffic.

    ``instants`` are the times of the later rows in microseconds since 1970 UTC (None when the time column has none);
    ``known_after`` is the number of the later row at whose arrival the label of each later row is known.
    """

    earlier: pl.DataFrame
    later: pl.DataFrame
    target: str
    time: str | None
    key: str | None
    instants: list[int] | None
    known_after: list[int]
    windows: list[Window]
    rows_per_request: int
    notes: list[str]

    @property
    def dated(self) -> str | None:
        """Give the time column when it holds dates; numbers that grow with time only order the rows."""
        return self.time if self.time is not None and self.earlier[self.time].dtype.is_temporal() else None


def load_split(
    data: Path,
    target: str,
    *,
    time: str | None,
    key: str | None,
    label_delay: str | None,
    options: ReadOptions | None = None,
) -> Split:
    """Read and split the table; raises InvalidRequest or InvalidData with what to change."""
    read = read_file(data, options=options)
    notes = [f"{data.name}: {warning}" for warning in read.report.warnings]
    if read.report.bad_rows:
        notes.append(f"{data.name}: left out {read.report.bad_rows} broken rows, at lines {read.report.bad_lines}")
    return split(read.frame, target, time=time, key=key, label_delay=label_delay, notes=notes)


def split(
    frame: pl.DataFrame,
    target: str,
    *,
    time: str | None,
    key: str | None = None,
    label_delay: str | None = None,
    notes: list[str] | None = None,
) -> Split:
    """Order the table in time and split it. Without *time* the order of the rows is taken as the order in time."""
    notes = list(notes or [])
    for role, column in (("target", target), ("time", time), ("key", key)):
        if column is not None and column not in frame.columns:
            raise InvalidRequest(f"--{role} {column!r} is no column of the table; it has {_some(frame.columns)}")
    if target in (time, key):
        raise InvalidRequest(f"column {target!r} cannot be the target and the time or the key at once")
    ordered = frame if time is None else _ordered(frame, time, notes)
    if ordered.height < MIN_ROWS:
        raise InvalidData(f"the table has {ordered.height} rows; the loop needs at least {MIN_ROWS}")
    known = max(_MIN_KNOWN, int(ordered.height * _KNOWN_SHARE))
    earlier, later = ordered[:known], ordered[known:]
    _learnable(earlier[target], later[target])
    instants = None if time is None else _instants(later[time])
    return Split(
        earlier=earlier,
        later=later,
        target=target,
        time=time,
        key=key,
        instants=instants,
        known_after=_known_after(later.height, instants, label_delay),
        windows=_windows(later.height),
        rows_per_request=-(-later.height // _MAX_REQUESTS),
        notes=notes,
    )


def _learnable(earlier: pl.Series, later: pl.Series) -> None:
    """Refuse what no training could learn from, before anything is started."""
    values = earlier.drop_nulls()
    if values.n_unique() > 1:
        return
    what = f"only {values[0]!r}" if len(values) else "no value"
    differs = later.drop_nulls().n_unique() > len(values[:1])
    hint = "the later rows hold others: are the rows in the order of time? name a --time column" if differs else ""
    raise InvalidData(
        f"target {earlier.name!r} has {what} in the first {len(earlier)} rows, which the first model learns from; "
        + (hint or "a model needs at least two different values")
    )


def _some(columns: list[str]) -> str:
    more = f" and {len(columns) - 12} more" if len(columns) > 12 else ""
    return ", ".join(columns[:12]) + more


def _ordered(frame: pl.DataFrame, time: str, notes: list[str]) -> pl.DataFrame:
    dtype = frame[time].dtype
    if not (dtype.is_temporal() or dtype.is_numeric()):
        sample = frame[time].drop_nulls().head(1).to_list()
        # Reading the file found which value kept the column from being dates: the first value may well be one.
        found = next((f"cannot be read: {note}" for note in notes if f"{time!r} mixes" in note), None)
        raise InvalidData(
            f"time column {time!r} {found or f'holds text such as {sample}'}; expected dates, timestamps or numbers "
            "that grow in time: repair it, or leave --time out when the rows stand in the order of time"
        )
    missing = frame[time].null_count()
    if missing:
        notes.append(f"{missing} rows have no {time} and were left out")
    return frame.filter(pl.col(time).is_not_null()).sort(time, maintain_order=True)


def _instants(column: pl.Series) -> list[int] | None:
    if column.dtype == pl.Date:
        column = column.cast(pl.Datetime("us"))
    if not isinstance(column.dtype, pl.Datetime):
        return None
    return column.cast(pl.Datetime("us", column.dtype.time_zone)).to_physical().to_list()


def _known_after(rows: int, instants: list[int] | None, label_delay: str | None) -> list[int]:
    delay = timedelta(0) if label_delay is None else parse_duration(label_delay)
    if delay == timedelta(0):
        return list(range(rows))
    if instants is None:
        raise InvalidRequest("--label-delay is a duration, so it needs --time with a column of dates or timestamps")
    times = pl.Series(instants)
    return times.search_sorted(times + int(delay / timedelta(microseconds=1)), side="left").to_list()


def _windows(rows: int) -> list[Window]:
    count = max(1, min(_WINDOWS, rows // _MIN_WINDOW))
    edges = [round(number * rows / count) for number in range(count + 1)]
    return [Window(number, edges[number], edges[number + 1]) for number in range(count)]


def iso(instant_us: int) -> str:
    """Write an instant for a wire."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=instant_us)).isoformat()


def plain(value: Any) -> Any:
    """Give a cell as JSON has it."""
    return value.isoformat() if hasattr(value, "isoformat") else value
