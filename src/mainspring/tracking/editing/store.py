"""The SQL that copies histories between runs, cuts them off, and joins them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import BigInteger, Connection, Table, and_, delete, literal, select, type_coerce, update
from sqlalchemy.dialects import postgresql, sqlite

from mainspring.tracking.inputs.store import run_foreign_inputs, run_models
from mainspring.tracking.metrics.store import Sorted, from_sortable, insert_points, points, series
from mainspring.tracking.store import run_inputs, runs

_LAST = 2**63 - 1


class Cut(NamedTuple):
    """What was cut off one series: its key, how many points, and whether none is left."""

    key: str
    points: int
    emptied: bool


def copy_points(connection: Connection, source: str, target: str, at_step: int) -> None:
    """Give a run without metrics the histories of another one up to a step, with their latest points."""
    numbers = connection.execute(select(series.c.key, series.c.id).where(series.c.run == source)).all()
    latest = {key: _latest(connection, number, at_step) for key, number in numbers}
    # This numbers the new series; then the other points follow without passing through here.
    insert_points(connection, target, {key: [found] for key, found in latest.items() if found is not None})
    old, new = series.alias("old"), series.alias("new")
    copied = (
        select(new.c.id, points.c.step, points.c.at_us, points.c.value)
        .select_from(points)
        .join(old, and_(old.c.id == points.c.series, old.c.run == source))
        .join(new, and_(new.c.run == target, new.c.key == old.c.key))
        .where(points.c.step <= at_step)
    )
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    columns = ["series", "step", "at_us", "value"]
    connection.execute(insert(points).from_select(columns, copied).on_conflict_do_nothing())


def copy_texts(connection: Connection, table: Table, source: str, target: str, without: Sequence[str] = ()) -> None:
    """Give a run the params or tags of another one, but for some."""
    mine = table.c.run == source
    if without:
        mine &= table.c.key.not_in(without)
    copied = select(literal(target), table.c.key, table.c.value).where(mine)
    connection.execute(table.insert().from_select(["run", "key", "value"], copied))


def copy_inputs(connection: Connection, source: str, target: str) -> None:
    """Give a run what another one read; what that one made stays its own."""
    for table in (run_inputs, run_foreign_inputs, run_models):
        rest = [column for column in table.columns if column.name != "run"]
        copied = select(literal(target), *rest).where(table.c.run == source)
        if table is run_models:
            copied = copied.where(table.c.made.is_(False))
        connection.execute(table.insert().from_select(["run", *(column.name for column in rest)], copied))


def copy_origin(connection: Connection, source: str, target: str) -> None:
    """Let a run execute the code of another one, in its environment, as far as those are known."""
    names = ("commit", "branch", "dirty", "environment")
    found = connection.execute(select(*(runs.c[name] for name in names)).where(runs.c.id == source)).one()
    connection.execute(update(runs).where(runs.c.id == target).values(dict(zip(names, found, strict=True))))


def cut_off(connection: Connection, run: str, key: str | None, after_step: int) -> list[Cut]:
    """Remove the points after a step, of one metric or of all; a series that has none left goes with them."""
    mine = series.c.run == run if key is None else (series.c.run == run) & (series.c.key == key)
    cuts = []
    for number, name in connection.execute(select(series.c.id, series.c.key).where(mine).order_by(series.c.key)).all():
        late = (points.c.series == number) & (points.c.step > after_step)
        removed = connection.execute(delete(points).where(late)).rowcount
        if removed:
            cuts.append(Cut(name, removed, not _settle(connection, number)))
    return cuts


def _settle(connection: Connection, number: int) -> bool:
    """Let a series tell its latest point; gives False, and the series goes, when it has none."""
    latest = _latest(connection, number, _LAST)
    mine = series.c.id == number
    if latest is None:
        connection.execute(delete(series).where(mine))
        return False
    values = dict(zip(("step", "at_us", "value"), (*latest[:2], from_sortable(latest[2])), strict=True))
    connection.execute(update(series).where(mine).values(values))
    return True


def _latest(connection: Connection, number: int, at_step: int) -> Sorted | None:
    columns = (points.c.step, points.c.at_us, type_coerce(points.c.value, BigInteger))
    query = select(*columns).where(points.c.series == number, points.c.step <= at_step)
    found = connection.execute(query.order_by(*(column.desc() for column in columns)).limit(1)).first()
    return None if found is None else (found[0], found[1], found[2])


def texts(connection: Connection, table: Table, run: str) -> dict[str, str]:
    """Read the params or tags of a run."""
    rows = connection.execute(select(table.c.key, table.c.value).where(table.c.run == run))
    return {row[0]: row[1] for row in rows}
