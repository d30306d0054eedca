"""The SQL of experiments by their ids."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    delete,
    exists,
    func,
    literal,
    not_,
    select,
    true,
    type_coerce,
    update,
)
from sqlalchemy.exc import IntegrityError

from mainspring.core.errors import AlreadyExists, Conflict, InvalidRequest, NotFound
from mainspring.core.filters import Comparison, Field, Filter, Order
from mainspring.storage.sql.matching import condition
from mainspring.storage.sql.schema import instant
from mainspring.storage.sql.statements import Statement
from mainspring.tracking import paging
from mainspring.tracking.comparing.store import beyond, compare, in_lifecycle, read_page
from mainspring.tracking.comparing.values import Kind
from mainspring.tracking.model import Experiment, Lifecycle
from mainspring.tracking.store import experiment_tags, experiments, experiments_of, runs

COLUMNS: dict[str, tuple[ColumnElement[Any], Kind]] = {
    "name": (experiments.c.name, "text"),
    "experiment_id": (experiments.c.id, "text"),
    "creation_time": (type_coerce(experiments.c.created, BigInteger), "time"),
    "last_update_time": (
        type_coerce(func.coalesce(experiments.c.updated, experiments.c.created), BigInteger),
        "time",
    ),
}
"""What an experiment can be searched by, beside its tags."""


def find_experiment(connection: Connection, id: str) -> Experiment | None:
    """Find an experiment by its id."""
    rows = connection.execute(select(experiments).where(experiments.c.id == id)).all()
    return next(iter(experiments_of(connection, rows)), None)


_OWNER = Statement("SELECT id, name, created, deleted, location FROM experiments WHERE id = ?")


def find_owner(connection: Connection, id: str) -> Experiment | None:
    """Find an experiment by its id, without its tags, for a run that begins in it."""
    found = _OWNER.first(connection, (id,))
    if found is None:
        return None
    number, name, created, deleted, location = found
    return Experiment(
        number, name, instant(created), deleted=None if deleted is None else instant(deleted), location=location
    )


def lock_experiment(connection: Connection, id: str) -> Experiment:
    """Find an experiment that is about to be changed; raises NotFound."""
    connection.execute(select(experiments.c.id).where(experiments.c.id == id).with_for_update())
    found = find_experiment(connection, id)
    if found is None:
        raise NotFound(f"No Experiment with id={id} exists", experiment=id)
    return found


def search(
    connection: Connection,
    where: Filter,
    order: Sequence[Order],
    *,
    lifecycle: Lifecycle,
    limit: int,
    page: str | None,
    within: ColumnElement[bool] | None = None,
) -> tuple[list[Experiment], str | None]:
    """Find experiments for which *within* holds, and the token of the next page if there is one.

    Raises InvalidRequest for a foreign token.
    """
    terms = [(_column(part.field)[0], part.descending) for part in order]
    terms.append((experiments.c.id, False))
    query = select(experiments, *(column.label(f"order{at}") for at, (column, _) in enumerate(terms)))
    query = query.where(
        true() if within is None else within,
        in_lifecycle(experiments.c.deleted, lifecycle),
        condition(where, partial(_comparison, dialect=connection.dialect.name)),
    )
    if page is not None:
        query = query.where(beyond(terms, read_page(page, len(terms))))
    sorting = [column.desc() if descending else column for column, descending in terms]
    rows = connection.execute(query.order_by(*sorting).limit(limit + 1)).all()
    found = experiments_of(connection, rows[:limit])
    return found, paging.encode(list(rows[limit - 1])[-len(terms) :]) if len(rows) > limit else None


def rename(connection: Connection, experiment: Experiment, name: str, now: datetime) -> None:
    """Give an experiment another name; raises AlreadyExists when another one has it."""
    change = update(experiments).where(experiments.c.id == experiment.id).values(name=name, updated=now)
    try:
        with connection.begin_nested():
            connection.execute(change)
    except IntegrityError:
        raise AlreadyExists(f"Experiment {name!r} exists already: take another name", name=name) from None


def touch(connection: Connection, id: str, now: datetime) -> None:
    """Note that an experiment changed."""
    connection.execute(update(experiments).where(experiments.c.id == id).values(updated=now))


def set_deleted(connection: Connection, experiment: Experiment, now: datetime, *, deleted: bool) -> None:
    """Delete an experiment with its runs, or restore it with those runs that were deleted with it."""
    mine = runs.c.experiment == experiment.id
    if deleted:
        connection.execute(update(runs).where(mine, runs.c.deleted.is_(None)).values(deleted=now))
    else:
        connection.execute(update(runs).where(mine, runs.c.deleted == experiment.deleted).values(deleted=None))
    change = update(experiments).where(experiments.c.id == experiment.id)
    connection.execute(change.values(deleted=now if deleted else None, updated=now))


def delete_tag(connection: Connection, id: str, key: str) -> bool:
    """Remove a tag of an experiment and tell whether it was there."""
    mine = (experiment_tags.c.experiment == id) & (experiment_tags.c.key == key)
    return connection.execute(delete(experiment_tags).where(mine)).rowcount > 0


def require_active(experiment: Experiment) -> Experiment:
    """Give *experiment* back; raises Conflict when it is deleted."""
    if experiment.deleted is not None:
        raise Conflict(
            f"The experiment {experiment.id} must be in the 'active' state to change; it is deleted",
            experiment=experiment.id,
        )
    return experiment


def kind_of(field: Field) -> Kind:
    """Give what the values of a field are; raises InvalidRequest when experiments have none of this name."""
    return "text" if field.entity == "tag" else _column(field)[1]


def _column(field: Field) -> tuple[ColumnElement[Any], Kind]:
    found = COLUMNS.get(field.key) if field.entity == "attribute" else None
    if found is None:
        raise InvalidRequest(
            f"Invalid attribute key {field.key!r}: experiments have tags.NAME and {', '.join(COLUMNS)}", key=field.key
        )
    return found


def _comparison(wanted: Comparison, dialect: str) -> ColumnElement[bool]:
    if wanted.field.entity == "attribute":
        column, kind = _column(wanted.field)
        return literal(False) if wanted.operator == "null" else compare(column, kind, wanted, dialect)
    mine = (experiment_tags.c.experiment == experiments.c.id) & (experiment_tags.c.key == wanted.field.key)
    if wanted.operator == "null":
        return not_(exists(select(literal(1)).where(mine)))
    return exists(select(literal(1)).where(mine, compare(experiment_tags.c.value, "text", wanted, dialect)))
