"""The SQL that condemns deleted records and removes what is condemned, some rows at a time.

What is condemned is out of sight and cannot be restored, and its name is free; a process that is killed while its rows
go leaves nothing that anybody could take for whole. Whatever refers to a condemned row by a foreign key goes before it,
in whichever room its table was declared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    delete,
    false,
    func,
    literal,
    or_,
    select,
    tuple_,
    type_coerce,
    update,
)

from mainspring.registry.logged.store import (
    logged_model_metrics,
    logged_model_params,
    logged_model_tags,
    logged_models,
)
from mainspring.retention.model import Wanted
from mainspring.storage.sql.schema import metadata
from mainspring.traces.store import trace_links, traces
from mainspring.tracking.files.store import artifact_files
from mainspring.tracking.metrics.store import points
from mainspring.tracking.model import GONE, microseconds
from mainspring.tracking.store import experiments, runs

OWNERS = {"logged_models": logged_models, "traces": traces, "runs": runs, "experiments": experiments}
"""What a collection removes with all that belongs to it, in this order, by the fields of `Garbage`."""
DEFAULT_ID = "0"
"""The id of the default experiment, which everybody knows: it is never removed itself."""
_OF_MODELS = (logged_model_params, logged_model_tags, logged_model_metrics)


class Owned(NamedTuple):
    """Rows of a table that go with what owns them."""

    table: Table
    where: ColumnElement[bool]

    @property
    def counted_as(self) -> str:
        """Give the field of `Garbage` that counts them."""
        return "metric_points" if self.table is points else "other_rows"


def _at(deleted: Column[Any]) -> ColumnElement[int]:
    return type_coerce(deleted, BigInteger)


def doomed_experiments(wanted: Wanted) -> ColumnElement[bool]:
    """Give the test of experiments that go, with those that are condemned already."""
    if wanted.runs is not None and wanted.experiments is None:
        return experiments.c.deleted == GONE
    deleted = and_(
        experiments.c.id != DEFAULT_ID,
        _at(experiments.c.deleted) <= microseconds(wanted.before),
        true_or_in(experiments.c.id, wanted.experiments),
    )
    return or_(experiments.c.deleted == GONE, deleted)


def doomed_runs(wanted: Wanted) -> ColumnElement[bool]:
    """Give the test of runs that go: deleted for long enough, or of an experiment that goes."""
    of_experiments = runs.c.experiment.in_(select(experiments.c.id).where(doomed_experiments(wanted)))
    deleted: ColumnElement[bool] = _at(runs.c.deleted) <= microseconds(wanted.before)
    if not wanted.everything:
        named = runs.c.id.in_(wanted.runs or []), runs.c.experiment.in_(wanted.experiments or [])
        deleted &= or_(*named)
    return or_(runs.c.deleted == GONE, of_experiments, deleted)


def doomed_models(wanted: Wanted) -> ColumnElement[bool]:
    """Give the test of logged models that go; those of a run that goes stay unless they were deleted themselves."""
    of_experiments = logged_models.c.experiment.in_(select(experiments.c.id).where(doomed_experiments(wanted)))
    deleted: ColumnElement[bool] = _at(logged_models.c.deleted) <= microseconds(wanted.before)
    if wanted.experiments is not None:
        deleted &= logged_models.c.experiment.in_(wanted.experiments)
    elif wanted.runs is not None:
        deleted = false()
    return or_(logged_models.c.deleted == GONE, of_experiments, deleted)


def doomed_traces(wanted: Wanted) -> ColumnElement[bool]:
    """Give the test of traces that go: those of experiments that go."""
    return traces.c.experiment.in_(select(experiments.c.id).where(doomed_experiments(wanted)))


def true_or_in(column: ColumnElement[Any], values: Sequence[str] | None) -> ColumnElement[bool]:
    """Give the test of a column that is one of *values*; None: whatever it is."""
    return literal(1) == 1 if values is None else column.in_(values)


def condemn_experiments(connection: Connection, wanted: Wanted, limit: int) -> list[tuple[str, str]]:
    """Condemn some experiments and give their names and ids."""
    fresh = and_(doomed_experiments(wanted), experiments.c.deleted != GONE)
    query = select(experiments.c.name, experiments.c.id).where(fresh).limit(limit).with_for_update()
    found = [(name, id) for name, id in connection.execute(query)]
    mine = experiments.c.id.in_([id for _, id in found])
    gone = {"deleted": GONE, "name": literal("collected:") + experiments.c.id}
    connection.execute(update(experiments).where(mine).values(**gone))
    return found


def condemn_runs(connection: Connection, wanted: Wanted, limit: int) -> list[str]:
    """Condemn some runs and give their ids."""
    return _condemn(connection, runs, doomed_runs(wanted), limit)


def condemn_models(connection: Connection, wanted: Wanted, limit: int) -> list[str]:
    """Condemn some logged models and give their ids."""
    return _condemn(connection, logged_models, doomed_models(wanted), limit)


def _condemn(connection: Connection, table: Table, doomed: ColumnElement[bool], limit: int) -> list[str]:
    fresh = and_(doomed, func.coalesce(_at(table.c.deleted), 1) != microseconds(GONE))
    query = select(table.c.id).where(fresh).limit(limit).with_for_update()
    found = list(connection.execute(query).scalars())
    connection.execute(update(table).where(table.c.id.in_(found)).values(deleted=GONE))
    return found


def condemned(connection: Connection, kind: str, limit: int) -> list[str]:
    """List some condemned experiments, runs or logged models, or traces of condemned experiments."""
    table = OWNERS[kind]
    if table is traces:
        where = doomed_traces(NOTHING_ELSE)
    elif table is experiments:  # Only once nothing is left in it.
        left = [select(one.c.id).where(one.c.experiment == experiments.c.id) for one in (runs, logged_models, traces)]
        where = and_(experiments.c.deleted == GONE, *(~query.exists() for query in left))
    else:
        where = table.c.deleted == GONE
    return list(connection.execute(select(table.c.id).where(where).limit(limit)).scalars())


NOTHING_ELSE = Wanted(GONE, experiments=[], runs=[])
"""What is condemned already, and nothing besides."""


def owned_by(kind: str, ids: Any) -> Iterator[Owned]:
    """Give the rows that go before the records of this kind with these ids (a list, or a query), in their order."""
    table = OWNERS[kind]
    yield from _below(table, table.c.id.in_(ids), seen=(table,))
    if table is experiments:
        # Rooms of the same floor do not know each other's tables, so some name an experiment without a foreign key.
        for other in metadata.sorted_tables:
            column = other.c.get("experiment")
            if column is not None and not column.foreign_keys and other not in OWNERS.values():
                yield from _below(other, column.in_(ids), seen=(other,))
                yield Owned(other, column.in_(ids))
    if table is runs:
        yield Owned(trace_links, and_(trace_links.c.kind == "run", trace_links.c.target.in_(ids)))
    if table is logged_models:
        for one in _OF_MODELS:
            yield Owned(one, one.c.model.in_(ids))
    if table in (logged_models, traces):
        kind = "model" if table is logged_models else "trace"
        if isinstance(ids, Select):
            inner = ids.subquery()
            owners: Any = select(literal(f"{kind}:") + inner.c[0])
        else:
            owners = [f"{kind}:{id}" for id in ids]
        yield Owned(artifact_files, artifact_files.c.owner.in_(owners))


def _below(parent: Table, where: ColumnElement[bool], seen: tuple[Table, ...]) -> Iterator[Owned]:
    for child in metadata.sorted_tables:
        if child in seen or child in (runs, experiments, traces):
            continue
        for key in child.foreign_keys:
            if key.column.table is parent:
                mine = key.parent.in_(select(key.column).where(where))
                yield from _below(child, mine, (*seen, child))
                yield Owned(child, mine)


def remove_rows(connection: Connection, rows: Owned, limit: int) -> int:
    """Remove up to *limit* rows and tell how many those were."""
    keys = list(rows.table.primary_key.columns)
    key: Any = keys[0] if len(keys) == 1 else tuple_(*keys)
    some = select(*keys).where(rows.where).limit(limit)
    return connection.execute(delete(rows.table).where(key.in_(some))).rowcount


def remove_owners(connection: Connection, kind: str, ids: Sequence[str]) -> int:
    """Remove records whose rows are gone; those that had such a run as their parent have none."""
    table = OWNERS[kind]
    if table is runs:
        connection.execute(update(runs).where(runs.c.parent.in_(ids)).values(parent=None))
    return connection.execute(delete(table).where(table.c.id.in_(ids))).rowcount


def counts(connection: Connection, wanted: Wanted) -> dict[str, int]:
    """Count what a collection would remove, by the fields of `Garbage`."""
    found = {kind: _count(connection, OWNERS[kind], where) for kind, where in _doomed(wanted).items()}
    found |= {"metric_points": 0, "other_rows": 0}
    for table, where in _taken(wanted).items():
        found[Owned(table, where).counted_as] += _count(connection, table, where)
    return found


def kept_of(table: Table, wanted: Wanted) -> ColumnElement[bool] | None:
    """Give the test of rows of any table that no collection takes; None when it takes none of them."""
    taken = [where for other, where in _taken(wanted).items() if other is table]
    taken += [where for kind, where in _doomed(wanted).items() if OWNERS[kind] is table]
    return ~func.coalesce(reduce(or_, taken), false()) if taken else None


def _taken(wanted: Wanted) -> dict[Table, ColumnElement[bool]]:
    """Give the rows that would go with what owns them, by table: some go with several."""
    found: dict[Table, ColumnElement[bool]] = {}
    for kind, where in _doomed(wanted).items():
        for table, mine in owned_by(kind, select(OWNERS[kind].c.id).where(where)):
            found[table] = found[table] | mine if table in found else mine
    return found


def _doomed(wanted: Wanted) -> dict[str, ColumnElement[bool]]:
    return {
        "experiments": doomed_experiments(wanted),
        "runs": doomed_runs(wanted),
        "logged_models": doomed_models(wanted),
        "traces": doomed_traces(wanted),
    }


def unfit(connection: Connection, kind: str, ids: Sequence[str]) -> tuple[list[str], list[str]]:
    """Give which of these experiments or runs there are not, and which are in use."""
    table = OWNERS[kind]
    restorable = func.coalesce(_at(table.c.deleted), 1) != microseconds(GONE)
    rows = connection.execute(select(table.c.id, table.c.deleted).where(table.c.id.in_(ids), restorable)).all()
    found: dict[str, Any] = {row[0]: row[1] for row in rows}
    return [id for id in ids if id not in found], [id for id in ids if id in found and found[id] is None]


def ids_of_experiments(connection: Connection, given: Sequence[str]) -> dict[str, str]:
    """Give the ids of experiments that are named by name or by id; a name comes first."""
    either = or_(experiments.c.name.in_(given), experiments.c.id.in_(given))
    rows = connection.execute(select(experiments.c.id, experiments.c.name).where(either)).all()
    return {id: id for id, _ in rows} | {name: id for id, name in rows}


def _count(connection: Connection, table: Table, where: ColumnElement[bool]) -> int:
    return int(connection.execute(select(func.count()).select_from(table).where(where)).scalar_one())
