"""The SQL of charts: points of a metric of several runs at the same steps, as many as there is room for.

The steps are those that MLflow's server takes: of all that the runs have, sorted, evenly by their place, with the last
of them, and the first and the last of each run. Where steps are regular, they are known without reading any.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from mainspring.storage.sql.statements import Statement, listed
from mainspring.tracking.metrics.columns import Columns
from mainspring.tracking.metrics.reading import STEPS, integers
from mainspring.tracking.metrics.thinning import evenly

MAX_SCANNED = 1_000_000
"""How many points are looked through for their steps; of more, the steps nearest to even distances are taken."""

_EXTENTS = """
    SELECT s.run, s.id,
        (SELECT min(step) FROM metric_points WHERE series = s.id),
        (SELECT max(step) FROM metric_points WHERE series = s.id),
        (SELECT min(step) FROM metric_points WHERE series = s.id AND step >= ?),
        (SELECT max(step) FROM metric_points WHERE series = s.id AND step <= ?),
        (SELECT min(step) FROM metric_points WHERE series = s.id AND step > (
            SELECT min(step) FROM metric_points WHERE series = s.id AND step >= ?))
    FROM metric_series s WHERE s.key = ? AND s.run {among}"""
_OF_RUNS = Statement(
    _EXTENTS.format(among="IN (SELECT value FROM json_each(?))"), postgresql=_EXTENTS.format(among="= ANY(?)")
)

_DISTINCT = "SELECT {steps} FROM (SELECT DISTINCT step FROM metric_points WHERE series = ? AND step BETWEEN ? AND ?) s"
_ALL_STEPS = Statement(
    _DISTINCT.format(steps="json_group_array(step)"), postgresql=_DISTINCT.format(steps="json_agg(step)::text")
)
_COUNT = Statement(
    "SELECT count(*) FROM (SELECT 1 FROM metric_points WHERE series = ? AND step BETWEEN ? AND ? LIMIT ?) AS counted"
)

_NEXT = "SELECT t.value, (SELECT min(step) FROM metric_points WHERE series = ? AND step >= t.value) FROM {targets}"
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


class _Series(NamedTuple):
    """The metric of one run: its first and last step, and the first, last and second one of those asked for."""

    run: str
    id: int
    first: int
    last: int
    lowest: int | None
    highest: int | None
    second: int | None


def read_samples(
    connection: Connection, runs: Sequence[str], key: str, most: int, steps: tuple[int, int] = STEPS
) -> dict[str, Columns]:
    """Give the points of each run at up to about *most* steps, the same for all; runs without such a metric have none.

    Points of one step stay together, unless a run has more than twice as many as were asked for: then *most* of all
    its points are taken, evenly.
    """
    rows = _OF_RUNS.rows(connection, (*steps, steps[0], key, listed(connection, runs)))
    series = [_Series(*row) for row in rows]
    inside = [one for one in series if one.lowest is not None and steps[0] <= one.lowest <= steps[1]]
    if not inside:
        return {}
    ends = {end for one in series for end in (one.first, one.last) if steps[0] <= end <= steps[1]}
    chosen = _regular(inside, most)
    if chosen is not None:
        found = {one.run: _points(connection, one, chosen | ends, most, steps) for one in inside}
        if chosen <= {point[0] for points in found.values() for point in points}:
            return {run: Columns.of(points) for run, points in found.items()}
    chosen = _sampled(connection, inside, most, steps)
    return {one.run: Columns.of(_points(connection, one, chosen | ends, most, steps)) for one in inside}


def _spread(total: int, most: int) -> list[int]:
    # Which places MLflow's server takes: one more than asked for, as the last one always is among them.
    if total <= most:
        return list(range(total))
    return [*(int(place * (total / most)) for place in range(most)), total - 1]


def _regular(series: Sequence[_Series], most: int) -> set[int] | None:
    """Guess the steps when all runs step as they begin; None when they do not."""
    strides = {one.second - one.lowest for one in series if one.second is not None and one.lowest is not None}
    lowest = min(one.lowest for one in series if one.lowest is not None)
    highest = max(one.highest for one in series if one.highest is not None)
    if len(strides) != 1:
        return None
    (stride,) = strides
    if any((end - lowest) % stride for one in series for end in (one.lowest, one.highest) if end is not None):
        return None
    return {lowest + stride * place for place in _spread((highest - lowest) // stride + 1, most)}


def _sampled(connection: Connection, series: Sequence[_Series], most: int, steps: tuple[int, int]) -> set[int]:
    left = MAX_SCANNED
    for one in series:
        left -= _COUNT.rows(connection, (one.id, *steps, left + 1))[0][0]
        if left < 0:
            return _nearest(connection, series, most)
    every = sorted(set().union(*(_steps(connection, one.id, steps) for one in series)))
    return {every[place] for place in _spread(len(every), most)}


def _steps(connection: Connection, series: int, steps: tuple[int, int]) -> list[int]:
    (found,) = _ALL_STEPS.rows(connection, (series, *steps))[0]
    every: list[int] = integers(found).tolist()
    return every


def _nearest(connection: Connection, series: Sequence[_Series], most: int) -> set[int]:
    lowest = min(one.lowest for one in series if one.lowest is not None)
    highest = max(one.highest for one in series if one.highest is not None)
    targets = [lowest + (highest - lowest) * place // most for place in range(most)]
    nearest: dict[int, int] = {}
    for one in series:
        for target, step in _NEXT_STEPS.rows(connection, (one.id, listed(connection, targets))):
            if step is not None and step <= nearest.get(target, highest):
                nearest[target] = step
    return {*nearest.values(), highest}


def _points(
    connection: Connection, one: _Series, chosen: Collection[int], most: int, steps: tuple[int, int]
) -> list[tuple[int, ...]]:
    crowd = 2 * (most + 2)
    found = _POINTS_AT.rows(connection, (one.id, listed(connection, sorted(chosen)), crowd + 1))
    if len(found) <= crowd:
        return found
    total: int = _COUNT.rows(connection, (one.id, *steps, STEPS[1]))[0][0]
    places = listed(connection, evenly(total, most))
    return _POINTS_PLACED.rows(connection, (one.id, *steps, places))
