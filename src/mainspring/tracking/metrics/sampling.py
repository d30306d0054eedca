"""The SQL of charts: points of a metric, as many as there is room for.

The points are those that MLflow's server takes since 3.17: the first of each of equal parts of a run's history, and its
last. Where a run logs at regular steps, their places are known without reading any other point.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from mainspring.storage.sql.statements import Statement, listed
from mainspring.tracking.metrics.columns import Columns
from mainspring.tracking.metrics.reading import STEPS

MAX_SCANNED = 1_000_000
"""How many points are looked through for their places; of more, those nearest to even distances are taken."""

_EXTENTS = """
    SELECT s.run, s.id,
        (SELECT min(step) FROM metric_points WHERE series = s.id AND step BETWEEN ? AND ?),
        (SELECT max(step) FROM metric_points WHERE series = s.id AND step BETWEEN ? AND ?),
        (SELECT min(step) FROM metric_points WHERE series = s.id AND step > (
            SELECT min(step) FROM metric_points WHERE series = s.id AND step >= ?))
    FROM metric_series s WHERE s.key = ? AND s.run {among}"""
_OF_RUNS = Statement(
    _EXTENTS.format(among="IN (SELECT value FROM json_each(?))"), postgresql=_EXTENTS.format(among="= ANY(?)")
)

_COUNT = Statement(
    "SELECT count(*) FROM (SELECT 1 FROM metric_points WHERE series = ? AND step BETWEEN ? AND ? LIMIT ?) AS counted"
)

_NEXT = "SELECT (SELECT min(step) FROM metric_points WHERE series = ? AND step >= t.value) FROM {targets}"
_NEXT_STEPS = Statement(
    _NEXT.format(targets="json_each(?) t"), postgresql=_NEXT.format(targets="unnest(?::bigint[]) AS t(value)")
)

_AT = "SELECT step, at_us, value FROM metric_points WHERE series = ? AND step {among} ORDER BY 1, 2, 3 LIMIT ?"
_POINTS_AT = Statement(_AT.format(among="IN (SELECT value FROM json_each(?))"), postgresql=_AT.format(among="= ANY(?)"))

_PLACED = """
    SELECT step, at_us, value FROM (
        SELECT step, at_us, value, row_number() OVER (ORDER BY step, at_us, value) - 1 AS place
        FROM metric_points WHERE series = ? AND step BETWEEN ? AND ?
    ) AS placed WHERE place {among} ORDER BY 1, 2, 3"""
_POINTS_PLACED = Statement(
    _PLACED.format(among="IN (SELECT value FROM json_each(?))"), postgresql=_PLACED.format(among="= ANY(?)")
)

_Points = list[tuple[int, ...]]


class _Series(NamedTuple):
    """The metric of one run: the first, the last and the second step of those asked for."""

    run: str
    id: int
    lowest: int | None
    highest: int | None
    second: int | None


def read_samples(
    connection: Connection, runs: Sequence[str], key: str, most: int, steps: tuple[int, int] = STEPS
) -> dict[str, Columns]:
    """Give up to *most* points of each run, the last among them; runs that have none in *steps* are left out."""
    rows = _OF_RUNS.rows(connection, (*steps, *steps, steps[0], key, listed(connection, runs)))
    series = [_Series(*row) for row in rows]
    return {one.run: Columns.of(_sample(connection, one, most, steps)) for one in series if one.lowest is not None}


def beginnings(total: int, most: int) -> list[int]:
    """Give up to *most* places out of *total*: where each of *most* equal parts begins, and the last for its own."""
    size, larger = divmod(total, most)
    places = [part * size + min(part, larger) for part in range(min(most, total))]
    return [*places[:-1], total - 1]


def _sample(connection: Connection, one: _Series, most: int, steps: tuple[int, int]) -> _Points:
    regular = _regular(one, most)
    if regular:
        found: _Points = _POINTS_AT.rows(connection, (one.id, listed(connection, regular), len(regular) + 1))
        if len(found) == len(regular):
            return found
    total: int = _COUNT.rows(connection, (one.id, *steps, MAX_SCANNED + 1))[0][0]
    if total > MAX_SCANNED:
        return _nearest(connection, one, most)
    return _POINTS_PLACED.rows(connection, (one.id, *steps, listed(connection, beginnings(total, most))))


def _regular(one: _Series, most: int) -> list[int]:
    """Guess the steps of a run that goes on as it begins, with one point a step; none when it cannot be so."""
    if one.lowest is None or one.highest is None or one.second is None or one.second > one.highest:
        return []
    stride = one.second - one.lowest
    if (one.highest - one.lowest) % stride:
        return []
    places = beginnings((one.highest - one.lowest) // stride + 1, most)
    return [one.lowest + stride * place for place in places]


def _nearest(connection: Connection, one: _Series, most: int) -> _Points:
    lowest, highest = one.lowest or 0, one.highest or 0
    targets = [lowest + (highest - lowest) * place // most for place in range(most)]
    nearest = {row[0] for row in _NEXT_STEPS.rows(connection, (one.id, listed(connection, targets)))}
    wanted = sorted(step for step in {*nearest, highest} if step is not None and step <= highest)
    found: _Points = _POINTS_AT.rows(connection, (one.id, listed(connection, wanted), MAX_SCANNED))
    return [found[place] for place in beginnings(len(found), most)]
