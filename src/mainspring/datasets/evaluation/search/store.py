"""Filters and orders of evaluation datasets as SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Column, ColumnElement, Connection, exists, literal, not_, select, type_coerce

from mainspring.core.errors import InvalidRequest
from mainspring.core.filters import ATTRIBUTE, Comparison, Filter, Order
from mainspring.datasets.evaluation.model import EvaluationDataset
from mainspring.datasets.evaluation.store import dataset_experiments, dataset_tags, datasets, read
from mainspring.storage.sql.matching import condition, matches

ENTITIES = {"tags": "tag", "tag": "tag"}
_TEXTS: dict[str, Column[Any]] = {
    "id": datasets.c.id,
    "name": datasets.c.name,
    "digest": datasets.c.digest,
    "created_by": datasets.c.created_by,
    **dict.fromkeys(("updated_by", "last_updated_by"), datasets.c.updated_by),
}
_TIMES: dict[str, Column[Any]] = {
    **dict.fromkeys(("created", "created_time"), datasets.c.created),
    **dict.fromkeys(("updated", "last_update_time"), datasets.c.updated),
}
_ORDERS = {"name": datasets.c.name, **_TIMES}
_LAST_MS = 2**53


def search(
    connection: Connection,
    experiments: Sequence[str] | None,
    where: Filter,
    order: Sequence[Order],
    limit: int,
    offset: int,
) -> list[EvaluationDataset]:
    """Find datasets, of one of the *experiments* where these are given, the newest first unless *order* says otherwise.

    Raises InvalidRequest for a field that datasets do not have.
    """
    dialect = connection.dialect.name
    query = select(datasets).where(condition(where, lambda wanted: _comparison(wanted, dialect)))
    if experiments is not None:
        mine = dataset_experiments.c.dataset == datasets.c.id
        query = query.where(exists(select(literal(1)).where(mine, dataset_experiments.c.experiment.in_(experiments))))
    return read(connection, query.order_by(*_sorted(order)).limit(limit).offset(offset))


def _comparison(wanted: Comparison, dialect: str) -> ColumnElement[bool]:
    if wanted.field.entity == ATTRIBUTE:
        column, values = _attribute(wanted)
        return column.is_(None) if wanted.operator == "null" else matches(column, wanted.operator, values, dialect)
    mine = (dataset_tags.c.dataset == datasets.c.id) & (dataset_tags.c.key == wanted.field.key)
    if wanted.operator == "null":
        return not_(exists(select(literal(1)).where(mine)))
    test = matches(dataset_tags.c.value, wanted.operator, _words(wanted), dialect)
    return exists(select(literal(1)).where(mine, test))


def _attribute(wanted: Comparison) -> tuple[ColumnElement[Any], list[Any]]:
    key = wanted.field.key
    if key in _TIMES:
        return type_coerce(_TIMES[key], BigInteger), [_microseconds(wanted, value) for value in wanted.values]
    if key not in _TEXTS:
        known = ", ".join((*_TEXTS, *_TIMES, "tags.KEY"))
        raise InvalidRequest(f"Invalid attribute key '{key}' specified. Valid keys are: {known}")
    return _TEXTS[key], _words(wanted)


def _words(wanted: Comparison) -> list[str]:
    if wanted.operator in ("<", "<=", ">", ">="):
        raise InvalidRequest(f"Invalid comparator for the text {wanted.field}: {wanted.operator}; use =, !=, LIKE, IN")
    if not all(isinstance(value, str) for value in wanted.values):
        raise InvalidRequest(f"{wanted.field} is a text: expected a quoted string value, such as 'my-value'")
    return [str(value) for value in wanted.values]


def _microseconds(wanted: Comparison, value: object) -> int:
    whole = isinstance(value, int | float) and float(value).is_integer() and abs(value) < _LAST_MS
    if wanted.operator in ("like", "ilike") or not whole:
        raise InvalidRequest(
            f"Invalid value for numeric attribute '{wanted.field}': {value!r} with {wanted.operator}; "
            "it is compared with whole milliseconds since 1970"
        )
    assert isinstance(value, int | float)
    return int(value) * 1000


def _sorted(order: Sequence[Order]) -> list[ColumnElement[Any]]:
    wanted: dict[Column[Any], bool] = {}
    for one in order:
        column = _ORDERS.get(one.field.key) if one.field.entity == ATTRIBUTE else None
        if column is None:
            raise InvalidRequest(
                f"Invalid attribute key '{one.field}' to order by. Valid keys are: {', '.join(_ORDERS)}"
            )
        if column in wanted:
            raise InvalidRequest(f"`order_by` contains duplicate fields: {one.field} is there twice")
        wanted[column] = one.descending
    if not wanted:
        wanted[datasets.c.created] = True
    wanted.setdefault(datasets.c.id, True)
    return [column.desc() if descending else column.asc() for column, descending in wanted.items()]
