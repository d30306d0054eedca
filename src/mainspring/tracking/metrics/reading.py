"""The SQL that reads metrics: histories as columns, and the latest point of each key.

The points of a history come as one JSON array for each column: to take them row by row from the driver costs five
times what SQLite itself takes to find them.
"""

from __future__ import annotations

import numpy as np
from sqlalchemy import Connection

from mainspring.storage.sql.statements import Statement
from mainspring.tracking import paging
from mainspring.tracking.metrics.columns import Columns, Integers
from mainspring.tracking.metrics.thinning import Thinning, chosen
from mainspring.tracking.model import History

STEPS = -(2**63), 2**63 - 1
"""The first and the last step that there can be."""

MAX_HELD = 1_000_000
"""How many points are held at once to be thinned."""

MAX_PART = 100_000
_LEAST = STEPS[0]

_PART = """
    SELECT {step}, {at_us}, {value} FROM (
        SELECT step, at_us, value FROM metric_points
        WHERE series = (SELECT id FROM metric_series WHERE run = ? AND key = ?)
            AND (step, at_us, value) > (?, ?, ?) AND step <= ?
        ORDER BY step, at_us, value LIMIT ?
    ) AS points"""


def _as_json(text: str) -> Statement:
    names = ("step", "at_us", "value")
    return Statement(
        text.format_map({name: f"json_group_array({name})" for name in names}),
        postgresql=text.format_map({name: f"json_agg({name})::text" for name in names}),
    )


_COLUMNS = _as_json(_PART)


def read_page(connection: Connection, run: str, key: str, limit: int, page: str | None) -> tuple[Columns, str | None]:
    """Give up to *limit* points from *page* on, and the token of the next page if there is one."""
    after = None if page is None else paging.decode(page, tuple[int, int, int])
    found = read_columns(connection, run, key, limit=limit + 1, after=after)
    kept = found.part(0, limit)
    return kept, paging.encode(kept.last()) if len(found.steps) > limit else None


def read_columns(
    connection: Connection,
    run: str,
    key: str,
    *,
    limit: int,
    after: tuple[int, int, int] | None = None,
    steps: tuple[int, int] = STEPS,
) -> Columns:
    """Give up to *limit* points of *steps*, those that come *after* a point."""
    begin = after or (steps[0], _LEAST, _LEAST)  # No value is stored as the least integer.
    found = _COLUMNS.first(connection, (run, key, *begin, steps[1], limit))
    return Columns(*(integers(column) for column in found or ()))


def integers(text: str | None) -> Integers:
    """Read a JSON array of integers, and NULL as an empty one."""
    return np.fromstring((text or "[]")[1:-1], dtype=np.int64, sep=",")


def read_thinned(connection: Connection, run: str, key: str, most: int, method: Thinning) -> History:
    """Give up to *most* points, chosen by *method*; a history too long to be held is thinned part by part first."""
    held = read_columns(connection, run, key, limit=MAX_PART)
    more = len(held.steps) == MAX_PART
    while more:
        part = read_columns(connection, run, key, limit=MAX_PART, after=held.last())
        more = len(part.steps) == MAX_PART
        held = held.followed_by(part)
        if len(held.steps) > MAX_HELD:
            # The extremes of each stretch are all that any method would show of it at this width.
            held = held.taken(chosen(held.steps, held.values(), MAX_HELD // 2, "minmax"))
    return held.taken(chosen(held.steps, held.values(), most, method)).history(key)
