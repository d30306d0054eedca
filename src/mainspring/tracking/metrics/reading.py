"""The SQL that reads metrics: histories as columns, samples of them, and the latest point of each key."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import BigInteger, Connection, func, literal, select, tuple_, type_coerce

from mainspring.tracking import paging
from mainspring.tracking.metrics.store import Point, from_sortable, points, series
from mainspring.tracking.model import History, Metric, portable


def latest_of(connection: Connection, runs: Iterable[str]) -> dict[str, dict[str, Metric]]:
    """Read the latest point of every metric of some runs."""
    found: dict[str, dict[str, Metric]] = {run: {} for run in runs}
    query = select(series.c.run, series.c.key, series.c.value, series.c.step, series.c.at_us)
    for run, key, value, step, at_us in connection.execute(query.where(series.c.run.in_(found)).order_by(series.c.key)):
        found[run][key] = Metric(key, portable(value), step, at_us)
    return found


def read_history(connection: Connection, run: str, key: str, limit: int, page: str | None) -> History:
    """Give up to *limit* points in the order of step, time and value, from *page* on; it names the next page."""
    after = None if page is None else paging.decode(page, tuple[int, int, int])
    rows = _points_of(connection, run, key, after=after, limit=limit + 1)
    more = paging.encode(rows[limit - 1]) if len(rows) > limit else None
    kept = rows[:limit]
    values = [portable(from_sortable(point.value)) for point in kept]
    return History(key, [point.step for point in kept], [point.at_us for point in kept], values, more)


def read_sample(connection: Connection, run: str, key: str, most: int, steps: tuple[int, int] | None) -> History:
    """Give up to *most* points spread evenly over the history, or over *steps*, with its first and its last."""
    number = select(series.c.id).where(series.c.run == run, series.c.key == key).scalar_subquery()
    mine = points.c.series == number
    if steps is not None:
        mine &= points.c.step.between(*steps)
    total = connection.execute(select(func.count()).select_from(points).where(mine)).scalar_one()
    columns = points.c.step, points.c.at_us, type_coerce(points.c.value, BigInteger).label("value")
    query = select(*columns).where(mine).order_by(*columns)
    if total > most:
        numbered = (
            select(*columns, (func.row_number().over(order_by=columns) - 1).label("place")).where(mine).subquery()
        )
        query = select(numbered.c.step, numbered.c.at_us, numbered.c.value)
        query = query.where(numbered.c.place.in_(evenly(total, most))).order_by(numbered.c.place)
    kept = [Point(*row) for row in connection.execute(query)]
    values = [portable(from_sortable(point.value)) for point in kept]
    return History(key, [point.step for point in kept], [point.at_us for point in kept], values)


def evenly(total: int, most: int) -> list[int]:
    """Give up to *most* places out of *total*, evenly spread, with the first and the last; a single one is the last."""
    if most == 1:
        return [total - 1]
    return sorted({round(place * (total - 1) / (most - 1)) for place in range(most)})


def _points_of(
    connection: Connection, run: str, key: str, *, after: tuple[int, int, int] | None, limit: int
) -> list[Point]:
    number = select(series.c.id).where(series.c.run == run, series.c.key == key).scalar_subquery()
    columns = points.c.step, points.c.at_us, type_coerce(points.c.value, BigInteger)
    query = select(*columns).where(points.c.series == number).order_by(*columns).limit(limit)
    if after is not None:
        query = query.where(tuple_(*columns) > tuple_(*map(literal, after)))
    return [Point(*row) for row in connection.execute(query)]
