"""How models and versions are found by filters, renamed and deleted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Select,
    Table,
    and_,
    delete,
    exists,
    func,
    literal,
    not_,
    select,
)
from sqlalchemy import Connection as Connection

from mainspring.core.errors import InvalidRequest
from mainspring.core.filters import ATTRIBUTE, Comparison, Filter, Order
from mainspring.registry.cards.store import model_cards
from mainspring.registry.model import Model, ModelVersion
from mainspring.registry.protection.store import alias_protections, model_checks, promotion_requests
from mainspring.registry.scanning.store import model_scans
from mainspring.registry.store import (
    batched,
    gate_reports,
    model_alias_moves,
    model_aliases,
    model_numbers,
    model_stages,
    model_tags,
    model_version_tags,
    model_versions,
    models,
    models_of,
    versions_of,
)
from mainspring.storage.sql.matching import condition, matches
from mainspring.storage.sql.schema import upsert

_MODEL_FIELDS: dict[str, Column[Any]] = {"name": models.c.name}
_MODEL_ORDERS = {
    **_MODEL_FIELDS,
    **dict.fromkeys(("created", "creation_timestamp"), models.c.created),
    **dict.fromkeys(("updated", "timestamp", "last_updated_timestamp"), models.c.updated),
}
_VERSION_FIELDS: dict[str, Column[Any]] = {
    "name": model_versions.c.name,
    "stage": model_versions.c.stage,
    **dict.fromkeys(("version", "version_number"), model_versions.c.version),
    **dict.fromkeys(("run", "run_id"), model_versions.c.run),
    **dict.fromkeys(("source", "source_path"), model_versions.c.source),
}
_VERSION_ORDERS = {
    "name": model_versions.c.name,
    **dict.fromkeys(("version", "version_number"), model_versions.c.version),
    **dict.fromkeys(("created", "creation_timestamp"), model_versions.c.created),
    **dict.fromkeys(("updated", "last_updated_timestamp"), model_versions.c.updated),
}
_OF_MODEL = (models, model_tags, model_versions, model_version_tags, model_aliases)
_PROTECTING = (model_cards, alias_protections, promotion_requests, model_checks)
_HISTORIES = (model_alias_moves, model_stages, gate_reports, model_scans, *_PROTECTING)
_Fields = Mapping[str, Column[Any]]


def search_models(
    connection: Connection, where: Filter, order: Sequence[Order], without: Mapping[str, str], limit: int, offset: int
) -> list[Model]:
    """Find models; those with one of the tags *without* are left out."""
    condition = _Conditions(connection, _MODEL_FIELDS, model_tags, ["name"], models)
    query = select(models).where(condition.of(where), *condition.lacking(without))
    sorting = _sorted(order, _MODEL_ORDERS, [(models.c.name, False)])
    rows = connection.execute(query.order_by(*sorting).limit(limit).offset(offset)).all()
    return models_of(connection, rows)


def search_versions(
    connection: Connection, where: Filter, order: Sequence[Order], without: Mapping[str, str], limit: int, offset: int
) -> list[ModelVersion]:
    """Find versions; those with one of the tags *without* are left out."""
    condition = _Conditions(connection, _VERSION_FIELDS, model_version_tags, ["name", "version"], model_versions)
    query: Select[Any] = select(model_versions).where(condition.of(where), *condition.lacking(without))
    sorting = _sorted(order, _VERSION_ORDERS, [(model_versions.c.name, False), (model_versions.c.version, True)])
    rows = connection.execute(query.order_by(*sorting).limit(limit).offset(offset)).all()
    return versions_of(connection, rows)


def latest_by_stage(connection: Connection, names: Sequence[str]) -> dict[str, list[ModelVersion]]:
    """Give the latest version of each stage, for each of some models."""
    c = model_versions.c
    found: dict[str, list[ModelVersion]] = {name: [] for name in names}
    for part in batched(names):
        last = select(c.name, func.max(c.version).label("version")).where(c.name.in_(part))
        latest = last.group_by(c.name, c.stage).subquery()
        query = select(model_versions).join(latest, (c.name == latest.c.name) & (c.version == latest.c.version))
        for version in versions_of(connection, connection.execute(query.order_by(c.name, c.version)).all()):
            found[version.name].append(version)
    return found


def is_gated(connection: Connection, name: str) -> bool:
    """Tell whether gates were ever evaluated for a version of the model."""
    return connection.execute(select(exists(select(literal(1)).where(gate_reports.c.name == name)))).scalar_one()


def is_trusted(connection: Connection, digests: Iterable[str]) -> bool:
    """Tell whether a version of one of these trees is trusted."""
    c = model_versions.c
    query = select(literal(1)).where(c.digest.in_(list(digests)) & c.trusted)
    return connection.execute(select(exists(query))).scalar_one()


def versions_in_stage(connection: Connection, name: str, stage: str) -> list[ModelVersion]:
    """List the versions of a model that are in a stage."""
    c = model_versions.c
    query = select(model_versions).where((c.name == name) & (c.stage == stage)).order_by(c.version)
    return versions_of(connection, connection.execute(query).all())


def version_numbers(connection: Connection, name: str) -> list[int]:
    """List the numbers of a model's versions."""
    query = select(model_versions.c.version).where(model_versions.c.name == name).order_by(model_versions.c.version)
    return list(connection.execute(query).scalars())


def digests_of(connection: Connection, name: str) -> list[str]:
    """List the digests of a model's versions."""
    c = model_versions.c
    return list(
        connection.execute(select(c.digest).where((c.name == name) & c.digest.is_not(None)).distinct()).scalars()
    )


def give_up_numbers(connection: Connection, name: str, last: int) -> None:
    """Never again give a number up to *last* under this name."""
    known = connection.execute(select(model_numbers.c.last).where(model_numbers.c.name == name)).scalar() or 0
    upsert(connection, model_numbers, {"name": name, "last": max(last, known)}, keys=["name"])


def delete_model(connection: Connection, name: str) -> None:
    """Remove a model with its versions; the histories stay."""
    for table in (*_OF_MODEL, model_scans):
        connection.execute(delete(table).where(table.c.name == name))


def delete_version(connection: Connection, name: str, version: int) -> None:
    """Remove a version that no alias points to; its histories stay."""
    for table in (model_versions, model_version_tags, model_scans):
        connection.execute(delete(table).where((table.c.name == name) & (table.c.version == version)))


def rename_model(connection: Connection, name: str, new_name: str) -> None:
    """Let everything that is kept by the name of a model be kept by another."""
    for table in (*_OF_MODEL, *_HISTORIES):
        connection.execute(table.update().where(table.c.name == name).values(name=new_name))


def delete_model_tag(connection: Connection, name: str, key: str) -> bool:
    """Remove a tag of a model; False when there is none."""
    c = model_tags.c
    return connection.execute(delete(model_tags).where((c.name == name) & (c.key == key))).rowcount == 1


def delete_version_tag(connection: Connection, name: str, version: int, key: str) -> bool:
    """Remove a tag of a version; False when there is none."""
    c = model_version_tags.c
    which = (c.name == name) & (c.version == version) & (c.key == key)
    return connection.execute(delete(model_version_tags).where(which)).rowcount == 1


class _Conditions:
    def __init__(self, connection: Connection, fields: _Fields, tags: Table, keys: Sequence[str], owner: Table) -> None:
        self._dialect, self._fields, self._tags = connection.dialect.name, fields, tags
        self._mine = and_(*(tags.c[key] == owner.c[key] for key in keys))

    def lacking(self, without: Mapping[str, str]) -> list[ColumnElement[bool]]:
        found = [(self._tags.c.key == key) & (self._tags.c.value == value) for key, value in without.items()]
        return [not_(exists(select(literal(1)).where(self._mine, one))) for one in found]

    def of(self, where: Filter) -> ColumnElement[bool]:
        return condition(where, self._comparison)

    def _comparison(self, wanted: Comparison) -> ColumnElement[bool]:
        if wanted.field.entity == ATTRIBUTE:
            column = _field(wanted.field.key, self._fields, "attribute")
            if wanted.operator == "null":
                return column.is_(None)
            return matches(column, wanted.operator, _values(column, wanted), self._dialect)
        mine = self._mine & (self._tags.c.key == wanted.field.key)
        if wanted.operator == "null":
            return not_(exists(select(literal(1)).where(mine)))
        test = matches(self._tags.c.value, wanted.operator, _texts(wanted), self._dialect)
        return exists(select(literal(1)).where(mine, test))


def _values(column: Column[Any], wanted: Comparison) -> list[Any]:
    if column is model_versions.c.version:
        return _numbers(wanted)
    texts = _texts(wanted)
    return [f"run:{text}" for text in texts] if column is model_versions.c.run else texts


def _texts(wanted: Comparison) -> list[str]:
    if wanted.operator in ("<", "<=", ">", ">="):
        raise InvalidRequest(
            f"Invalid comparator {wanted.operator!r} for the text {wanted.field}: use =, !=, LIKE or IN"
        )
    if not all(isinstance(value, str) for value in wanted.values):
        raise InvalidRequest(f"{wanted.field} is a text: expected a quoted string value, such as 'my-value'")
    return [str(value) for value in wanted.values]


def _numbers(wanted: Comparison) -> list[int]:
    if wanted.operator in ("like", "ilike"):
        raise InvalidRequest(f"Invalid comparator {wanted.operator!r} for the number {wanted.field}")
    try:
        found = [float(value) for value in wanted.values]
    except ValueError:
        raise InvalidRequest(f"Invalid value for the number {wanted.field}: {wanted.values}") from None
    if not all(number.is_integer() and abs(number) < 2**31 for number in found):
        raise InvalidRequest(f"Invalid value for the whole number {wanted.field}: {wanted.values}")
    return [int(number) for number in found]


def _field(name: str, fields: _Fields, what: str) -> Column[Any]:
    if name not in fields:
        raise InvalidRequest(f"Invalid {what} key {name!r} specified; valid keys are {', '.join(fields)}")
    return fields[name]


def _sorted(order: Sequence[Order], fields: _Fields, last: list[tuple[Column[Any], bool]]) -> list[ColumnElement[Any]]:
    wanted: dict[Column[Any], bool] = {}
    for one in order:
        if one.field.entity != ATTRIBUTE:
            raise InvalidRequest(f"Invalid order_by entity: {one.field.entity}")
        column = _field(one.field.key, fields, "order by")
        if column in wanted:
            raise InvalidRequest(f"`order_by` contains duplicate fields: {one.field} is there twice")
        wanted[column] = one.descending
    for column, descending in last:
        wanted.setdefault(column, descending)
    return [column.desc() if descending else column.asc() for column, descending in wanted.items()]
