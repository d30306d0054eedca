"""Where logged models are kept, and how they are found."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Float,
    Index,
    Select,
    Table,
    Text,
    and_,
    case,
    delete,
    exists,
    literal,
    not_,
    or_,
    select,
    true,
    type_coerce,
    update,
)
from sqlalchemy import Connection as Connection

from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.core.filters import ATTRIBUTE, Comparison, Filter
from mainspring.registry.logged.model import LoggedMetric, LoggedModel, MetricOrder, OnDataset
from mainspring.storage.sql.matching import condition, matches
from mainspring.storage.sql.schema import Instant, metadata, upsert

logged_models = Table(
    "logged_models",
    metadata,
    Column("id", Text, primary_key=True),
    Column("experiment", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("model_type", Text),
    Column("run", Text, index=True),
    Column("status", Text, nullable=False),
    Column("created", Instant, nullable=False),
    Column("updated", Instant, nullable=False),
    Column("deleted", Instant),
    Index("ix_logged_models_experiment", "experiment", "created", "id"),
)

logged_model_params = Table(
    "logged_model_params",
    metadata,
    Column("model", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

logged_model_tags = Table(
    "logged_model_tags",
    metadata,
    Column("model", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

logged_model_metrics = Table(
    "logged_model_metrics",
    metadata,
    Column("model", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("at", Instant, primary_key=True),
    Column("step", BigInteger, primary_key=True, autoincrement=False),
    Column("run", Text, primary_key=True),
    Column("value", Float),
    Column("dataset", Text),
    Column("dataset_digest", Text),
)

_TEXTS: dict[str, Column[Any]] = {
    "name": logged_models.c.name,
    "status": logged_models.c.status,
    "model_type": logged_models.c.model_type,
    **dict.fromkeys(("id", "model_id"), logged_models.c.id),
    **dict.fromkeys(("run", "source_run_id"), logged_models.c.run),
    **dict.fromkeys(("experiment", "experiment_id"), logged_models.c.experiment),
}
_TIMES: dict[str, Column[Any]] = {
    **dict.fromkeys(("created", "creation_time", "creation_timestamp"), logged_models.c.created),
    **dict.fromkeys(("updated", "last_updated_time", "last_updated_timestamp"), logged_models.c.updated),
}
_OWNED = {"param": logged_model_params, "tag": logged_model_tags}
_LAST_MS = 2**53
_KEYS = 500
_METRIC_KEYS = ["model", "key", "at", "step", "run"]


def insert(connection: Connection, model: LoggedModel) -> None:
    """Add a logged model with its params and tags."""
    row = {column.name: getattr(model, column.name) for column in logged_models.c}
    connection.execute(logged_models.insert(), row)
    set_texts(connection, logged_model_params, model.id, model.params)
    set_texts(connection, logged_model_tags, model.id, model.tags)


def set_texts(connection: Connection, table: Table, model: str, texts: dict[str, str]) -> None:
    """Set params or tags of a logged model, replacing those of the same key."""
    rows = [{"model": model, "key": key, "value": value} for key, value in texts.items()]
    for start in range(0, len(rows), _KEYS):
        upsert(connection, table, rows[start : start + _KEYS], keys=["model", "key"])


def delete_tag(connection: Connection, model: str, key: str) -> bool:
    """Remove a tag, and tell whether it was there."""
    c = logged_model_tags.c
    return connection.execute(delete(logged_model_tags).where((c.model == model) & (c.key == key))).rowcount > 0


def change(connection: Connection, model: str, **values: Any) -> None:
    """Change columns of a logged model."""
    connection.execute(update(logged_models).where(logged_models.c.id == model).values(**values))


def add_metrics(connection: Connection, model: str, metrics: Sequence[LoggedMetric]) -> None:
    """Add values; one that was measured at the same time and step by the same run is replaced."""
    by_key = {(one.key, one.at, one.step, one.run): one for one in metrics}
    names = ("key", "value", "at", "step", "run", "dataset", "dataset_digest")
    rows = [{"model": model, **{name: getattr(one, name) for name in names}} for one in by_key.values()]
    for start in range(0, len(rows), _KEYS):
        upsert(
            connection, logged_model_metrics, rows[start : start + _KEYS], keys=["model", "key", "at", "step", "run"]
        )


def require(connection: Connection, model: str, *, deleted: bool = False) -> LoggedModel:
    """Get a logged model, with *deleted* also one that was deleted; raises NotFound."""
    query = select(logged_models).where(logged_models.c.id == model)
    if not deleted:
        query = query.where(logged_models.c.deleted.is_(None))
    found = _read(connection, query)
    if not found:
        raise NotFound(f"Logged model with ID '{model}' not found.", model=model)
    return found[0]


def lock(connection: Connection, model: str) -> LoggedModel:
    """Get a logged model that no other transaction changes until the end of this one; raises NotFound."""
    connection.execute(select(logged_models.c.id).where(logged_models.c.id == model).with_for_update())
    return require(connection, model)


def search(
    connection: Connection,
    experiments: Sequence[str],
    where: Filter,
    datasets: Sequence[OnDataset],
    order: Sequence[MetricOrder],
    limit: int,
    offset: int,
) -> list[LoggedModel]:
    """Find logged models of some experiments that are not deleted, newest first after *order*."""
    conditions = _Conditions(connection.dialect.name, datasets)
    query = select(logged_models).where(
        logged_models.c.deleted.is_(None), logged_models.c.experiment.in_(experiments), conditions.of(where)
    )
    if datasets and not conditions.asked_metrics:
        query = query.where(exists(select(literal(1)).where(_of_model, conditions.on_datasets)))
    return _read(connection, query.order_by(*_sorted(order)).limit(limit).offset(offset))


def _read(connection: Connection, query: Select[Any]) -> list[LoggedModel]:
    rows = connection.execute(query).all()
    ids = [row.id for row in rows]
    params, tags = (_texts(connection, table, ids) for table in (logged_model_params, logged_model_tags))
    metrics = _metrics(connection, ids)
    return [
        LoggedModel(
            **dict(row._mapping),
            params=params.get(row.id, {}),
            tags=tags.get(row.id, {}),
            metrics=metrics.get(row.id, []),
        )
        for row in rows
    ]


def _texts(connection: Connection, table: Table, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for start in range(0, len(ids), _KEYS):
        query = select(table).where(table.c.model.in_(ids[start : start + _KEYS])).order_by(table.c.key)
        for model, key, value in connection.execute(query):
            found.setdefault(model, {})[key] = value
    return found


def _metrics(connection: Connection, ids: Sequence[str]) -> dict[str, list[LoggedMetric]]:
    c = logged_model_metrics.c
    found: dict[str, list[LoggedMetric]] = {}
    for start in range(0, len(ids), _KEYS):
        query = select(logged_model_metrics).where(c.model.in_(ids[start : start + _KEYS]))
        for row in connection.execute(query.order_by(c.model, c.key, c.at, c.step, c.run)):
            values = dict(row._mapping)
            found.setdefault(values.pop("model"), []).append(LoggedMetric(**values))
    return found


_of_model = logged_model_metrics.c.model == logged_models.c.id


class _Conditions:
    def __init__(self, dialect: str, datasets: Sequence[OnDataset]) -> None:
        self._dialect = dialect
        self.asked_metrics = False
        self.on_datasets = or_(*(_on(one.name, one.digest) for one in datasets)) if datasets else true()

    def of(self, where: Filter) -> ColumnElement[bool]:
        return condition(where, self._comparison)

    def _comparison(self, wanted: Comparison) -> ColumnElement[bool]:
        key, entity = wanted.field.key, wanted.field.entity
        if entity == ATTRIBUTE:
            return self._attribute(wanted)
        if entity == "metric":
            self.asked_metrics = True
            mine = and_(_of_model, logged_model_metrics.c.key == key, self.on_datasets)
            column: ColumnElement[Any] = logged_model_metrics.c.value
        else:
            table = _OWNED[entity]
            mine, column = and_(table.c.model == logged_models.c.id, table.c.key == key), table.c.value
        if wanted.operator == "null":
            return not_(exists(select(literal(1)).where(mine)))
        values: list[Any] = _numbers(wanted) if entity == "metric" else _words(wanted)
        test = matches(column, wanted.operator, values, self._dialect)
        if entity == "metric" and wanted.operator == "!=":
            test = or_(test, column.is_(None))  # NaN, which is unlike every number.
        return exists(select(literal(1)).where(mine, test))

    def _attribute(self, wanted: Comparison) -> ColumnElement[bool]:
        key = wanted.field.key
        if key in _TIMES:
            column: ColumnElement[Any] = type_coerce(_TIMES[key], BigInteger)
            values: list[Any] = [_microseconds(number) for number in _numbers(wanted)]
        elif key in _TEXTS:
            column, values = _TEXTS[key], _words(wanted)
            if key == "status":
                values = [value.lower() for value in values]
        else:
            known = ", ".join((*_TEXTS, *_TIMES))
            raise InvalidRequest(f"Invalid attribute key {key!r} specified; valid keys are {known}")
        if wanted.operator == "null":
            return column.is_(None)
        return matches(column, wanted.operator, values, self._dialect)


def _on(dataset: str, digest: str | None) -> ColumnElement[bool]:
    named = logged_model_metrics.c.dataset == dataset
    return named if digest is None else named & (logged_model_metrics.c.dataset_digest == digest)


def _words(wanted: Comparison) -> list[str]:
    if wanted.operator in ("<", "<=", ">", ">="):
        raise InvalidRequest(f"Invalid comparison operator for {wanted.field}: {wanted.operator!r}")
    if not all(isinstance(value, str) for value in wanted.values):
        raise InvalidRequest(f"{wanted.field} is a text: expected a quoted string value, such as 'my-value'")
    return [str(value) for value in wanted.values]


def _numbers(wanted: Comparison) -> list[float]:
    if wanted.operator in ("like", "ilike"):
        raise InvalidRequest(f"Invalid comparison operator for {wanted.field}: {wanted.operator!r}")
    try:
        return [float(value) for value in wanted.values]
    except ValueError:
        raise InvalidRequest(f"{wanted.field} is a number: {wanted.values[0]!r} is none") from None


def _microseconds(milliseconds: float) -> int:
    if not abs(milliseconds) < _LAST_MS:
        raise InvalidRequest(f"{milliseconds} is not a time in milliseconds")
    return round(milliseconds * 1000)


def _sorted(order: Sequence[MetricOrder]) -> list[ColumnElement[Any]]:
    sorting: list[ColumnElement[Any]] = []
    known: set[str] = set()
    for one in order:
        column = _latest_metric(one) if one.metric else _attribute(one.key)
        known.add(column.name if isinstance(column, Column) else "")
        sorting += [case((column.is_(None), 1), else_=0), column.desc() if one.descending else column.asc()]
    if "created" not in known:
        sorting.append(logged_models.c.created.desc())
    if "id" not in known:
        sorting.append(logged_models.c.id.asc())
    return sorting


def _attribute(key: str) -> Column[Any]:
    column = _TEXTS.get(key, _TIMES.get(key))
    if column is None:
        raise InvalidRequest(f"Invalid order by field name: {key}")
    return column


def _latest_metric(order: MetricOrder) -> ColumnElement[Any]:
    c = logged_model_metrics.c
    query = select(c.value).where(_of_model, c.key == order.key)
    if order.dataset is not None:
        query = query.where(_on(order.dataset, order.dataset_digest))
    latest = query.order_by(c.at.desc(), c.step.desc(), c.run.asc()).limit(1)
    return latest.correlate(logged_models).scalar_subquery()


def at_millisecond(moment: datetime) -> datetime:
    """Give a moment as clients name it, to the millisecond, so that a search by it finds it."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
