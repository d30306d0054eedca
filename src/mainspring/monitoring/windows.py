"""Cut the prediction log into windows, each row into one, whoever dies in between."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import polars as pl

from mainspring.monitoring.model import Cursor, Reference
from mainspring.predictions.log import Logged, PredictionLog

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 1, 1, tzinfo=UTC)


class Window(msgspec.Struct, frozen=True):
    """A complete window of logged rows, and where the next one begins."""

    start: datetime
    end: datetime
    logged: Logged
    after: Cursor


def by_rows(log: PredictionLog, reference: Reference, cursor: Cursor, size: int, *, labels: bool) -> Iterator[Window]:
    """Yield every complete window of *size* rows after the cursor, in order of arrival (of labels: of their meeting).

    Rows of the release only; an incomplete rest waits for more.
    """
    last_mark = log.last_mark()
    if last_mark < cursor.mark:
        return
    bounds = (cursor.mark - 1, last_mark)
    logged = log.read(
        reference.endpoint,
        columns=reference.types or None,
        release=reference.release,
        marks=None if labels else bounds,
        met=bounds if labels else None,
        answered=labels,
        with_labels=labels,
    )
    marks = logged.rows["met" if labels else "mark"]
    begin = cursor.used
    while begin + size <= len(marks):
        part = slice_of(logged, begin, size)
        begin += size
        last = int(marks[begin - 1])
        # Rows of one mark came all at once, so counting them from the first is stable.
        cursor = Cursor(mark=last, used=int((marks[:begin] == last).sum()), windows=cursor.windows + 1)
        yield Window(*_span(part.rows), part, cursor)


def by_time(log: PredictionLog, reference: Reference, cursor: Cursor, seconds: float) -> Iterator[Window]:
    """Yield every window of *seconds* of event time that has passed, as the newest event tells.

    Windows begin at multiples of their length since 1970 UTC. Rows that arrive after their window was cut are in none.
    """
    since = (cursor.until, _LAST) if cursor.until is not None else None
    logged = log.read(
        reference.endpoint,
        columns=reference.types or None,
        release=reference.release,
        marks=(cursor.mark - 1, log.last_mark()),
        events=since,
        with_labels=False,
    )
    moments = logged.rows.select(pl.coalesce("event_time", "at")).to_series()
    if moments.is_empty():
        return
    first, newest = moments.min(), moments.max()
    assert isinstance(first, datetime)
    assert isinstance(newest, datetime)
    length = timedelta(seconds=seconds)
    start = cursor.until or _EPOCH + (first - _EPOCH) // length * length
    while start + length <= newest:
        end = start + length
        inside = (moments >= start) & (moments < end)
        if inside.any():
            cursor = Cursor(mark=cursor.mark, until=end, windows=cursor.windows + 1)
            yield Window(start, end, Logged(logged.rows.filter(inside), logged.features.filter(inside)), cursor)
        start = end


def slice_of(logged: Logged, begin: int, size: int) -> Logged:
    """Give *size* rows from *begin* on."""
    return Logged(logged.rows.slice(begin, size), logged.features.slice(begin, size))


def _span(rows: pl.DataFrame) -> tuple[datetime, datetime]:
    moments = rows.select(pl.coalesce("event_time", "at")).to_series()
    first, last = moments.min(), moments.max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    return first, last
