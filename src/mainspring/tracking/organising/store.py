"""The SQL of folders, groups and what is archived."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import (
    ColumnElement,
    Connection,
    Index,
    and_,
    delete,
    exists,
    func,
    literal_column,
    not_,
    or_,
    select,
    text,
    true,
)

from mainspring.storage.sql.matching import below, position
from mainspring.tracking.model import Experiment
from mainspring.tracking.organising.model import ARCHIVED, GROUP, Archived, Folder, RunGroup
from mainspring.tracking.store import (
    experiment_tags,
    experiments,
    find_experiments,
    run_tags,
    runs,
    set_experiment_tags,
)

_ONLY_ARCHIVED = f"key = '{ARCHIVED}'"
# Written out, not as a value: only then does the database see that the index holds all that it needs.
_ARCHIVED: ColumnElement[str] = literal_column(f"'{ARCHIVED}'")
Index("ix_run_tags_archived", run_tags.c.run, sqlite_where=text(_ONLY_ARCHIVED), postgresql_where=text(_ONLY_ARCHIVED))


def shown_runs(archived: Archived) -> ColumnElement[bool]:
    """Give the test of runs that a listing shows."""
    if archived == "shown":
        return true()
    put_away = runs.c.id.in_(select(run_tags.c.run).where(run_tags.c.key == _ARCHIVED))
    return put_away if archived == "only" else not_(put_away)


def shown_experiments(archived: Archived, under: str, dialect: str) -> ColumnElement[bool]:
    """Give the test of experiments that a listing of a folder shows; the empty one holds all."""
    inside = below(experiments.c.name, under, dialect)
    if archived == "shown":
        return inside
    mine = (experiment_tags.c.experiment == experiments.c.id) & (experiment_tags.c.key == ARCHIVED)
    put_away = exists(select(experiment_tags.c.key).where(mine))
    return and_(inside, put_away if archived == "only" else not_(put_away))


def runs_within(names: Sequence[str], under: str, dialect: str) -> ColumnElement[bool]:
    """Give the test of runs of the experiments with these names and of those below a folder; without any, of all."""
    if not names and not under:
        return true()
    inside = below(experiments.c.name, under, dialect) if under else experiments.c.name.in_(names)
    mine = or_(inside, experiments.c.name.in_(names)) if names and under else inside
    # A list of ids, so that only the runs of these experiments are looked at.
    return runs.c.experiment.in_(select(experiments.c.id).where(mine))


def folders(connection: Connection, under: str) -> list[Folder]:
    """List the folders that lie directly in a folder, by path, with those experiments below them that are in use."""
    name = func.substr(experiments.c.name, len(under) + 2) if under else experiments.c.name
    dialect = connection.dialect.name
    slash = position(name, "/", dialect)
    head = func.substr(name, 1, slash - 1).label("head")
    inside = (below(experiments.c.name, under, dialect), slash > 1, experiments.c.deleted.is_(None))
    found = connection.execute(select(head, func.count()).where(*inside).group_by(head))
    return sorted(
        (Folder(f"{under}/{child}" if under else child, count) for child, count in found), key=lambda one: one.path
    )


def groups(connection: Connection, names: Sequence[str]) -> list[RunGroup]:
    """List the groups of runs in use, by experiment and name; *names* are those of the experiments, none means all."""
    query = (
        select(run_tags.c.value, experiments.c.name, func.count())
        .join(runs, runs.c.id == run_tags.c.run)
        .join(experiments, experiments.c.id == runs.c.experiment)
        .where(run_tags.c.key == GROUP, runs.c.deleted.is_(None), runs_within(names, "", ""))
        .group_by(run_tags.c.value, experiments.c.name)
        .order_by(experiments.c.name, run_tags.c.value)
    )
    return [RunGroup(*row) for row in connection.execute(query)]


def experiments_below(connection: Connection, folder: str) -> list[Experiment]:
    """List every experiment below a folder, deleted or not, by name; they are locked until the transaction ends."""
    inside = below(experiments.c.name, folder, connection.dialect.name)
    query = select(experiments.c.name).where(inside).order_by(experiments.c.name).with_for_update()
    names = connection.execute(query).scalars().all()
    return [one for name in names for one in find_experiments(connection, name=name)]


def set_or_remove_tag(connection: Connection, experiment: str, key: str, value: str | None) -> None:
    """Set a tag of an experiment, or remove it (None)."""
    if value is not None:
        set_experiment_tags(connection, experiment, {key: value})
        return
    mine = (experiment_tags.c.experiment == experiment) & (experiment_tags.c.key == key)
    connection.execute(delete(experiment_tags).where(mine))
