"""Where models, versions, stages, aliases and gate reports are kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    Row,
    Table,
    Text,
    func,
    select,
    tuple_,
    update,
)
from sqlalchemy import Connection as Connection

from mainspring.core.actor import current_actor
from mainspring.core.errors import NotFound
from mainspring.registry.gate_model import GateReport
from mainspring.registry.model import AliasMove, Model, ModelVersion, Stage, StageChange
from mainspring.registry.signature import ModelInfo
from mainspring.storage.sql.schema import Identity64, Instant, Packed, metadata, upsert

T = TypeVar("T")

models = Table(
    "models",
    metadata,
    Column("name", Text, primary_key=True),
    Column("description", Text, nullable=False),
    Column("created", Instant, nullable=False),
    Column("updated", Instant, nullable=False),
)

model_tags = Table(
    "model_tags",
    metadata,
    Column("name", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

model_numbers = Table(  # How far versions were numbered under a name that was given up: no ref ever means two things.
    "model_numbers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("last", Integer, nullable=False),
)

model_versions = Table(
    "model_versions",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("digest", Text),
    Column("engine", Text),
    Column("info", Packed(ModelInfo)),
    Column("size_bytes", BigInteger, nullable=False),
    Column("created", Instant, nullable=False),
    Column("run", Text),
    Column("dataset", Text),
    Column("metrics", Packed(dict[str, float]), nullable=False),
    Column("card", Text, nullable=False),
    Column("trusted", Boolean, nullable=False),
    Column("stage", Text, nullable=False),
    Column("token", Text, unique=True),
    Column("updated", Instant, nullable=False),
    Column("unservable", Text),
    Column("source", Text),
    Column("location", Text),
    Column("logged", Text),
    Column("run_link", Text),
    Index("ix_model_versions_run", "run"),
    Index("ix_model_versions_digest", "digest"),
)

model_version_tags = Table(
    "model_version_tags",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

model_aliases = Table(
    "model_aliases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("alias", Text, primary_key=True),
    Column("version", Integer, nullable=False),
)

model_alias_moves = Table(
    "model_alias_moves",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("name", Text, nullable=False),
    Column("alias", Text, nullable=False),
    Column("version", Integer),
    Column("previous", Integer),
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Index("ix_model_alias_moves_name", "name", "alias", "id"),
)

model_stages = Table(
    "model_stages",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("stage", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Index("ix_model_stages_name", "name", "version", "id"),
)

gate_reports = Table(
    "gate_reports",
    metadata,
    Column("ref", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("token", Text, unique=True),
    Column("report", Packed(GateReport), nullable=False),
    Index("ix_gate_reports_name", "name", "version", "ref"),
)


# Models ---------------------------------------------------------------------------------------------------------------


def insert_model(connection: Connection, model: Model) -> bool:
    """Add a model; False when there is one of the name."""
    row = {"name": model.name, "description": model.description, "created": model.created, "updated": model.created}
    if not upsert(connection, models, row, keys=["name"], update=[]):
        return False
    set_model_tags(connection, model.name, model.tags)
    return True


def lock_model(connection: Connection, name: str) -> bool:
    """Let no other transaction number versions or move aliases of the model; False when there is none."""
    query = select(models.c.name).where(models.c.name == name).with_for_update()
    return connection.execute(query).first() is not None


def set_model(connection: Connection, name: str, values: Mapping[str, Any]) -> None:
    """Change columns of a model."""
    connection.execute(update(models).where(models.c.name == name).values(**values))


def set_model_tags(connection: Connection, name: str, tags: Mapping[str, str]) -> None:
    """Set tags of a model, replacing those of the same key."""
    rows = [{"name": name, "key": key, "value": value} for key, value in tags.items()]
    upsert(connection, model_tags, rows, keys=["name", "key"])


def set_version_tags(connection: Connection, version: ModelVersion, tags: Mapping[str, str]) -> None:
    """Set tags of a version, replacing those of the same key."""
    owner = {"name": version.name, "version": version.version}
    rows = [{**owner, "key": key, "value": value} for key, value in tags.items()]
    upsert(connection, model_version_tags, rows, keys=["name", "version", "key"])


def find_models(connection: Connection, *, name: str | None = None, after: str = "", limit: int = 1000) -> list[Model]:
    """List models by name with their latest version and aliases."""
    query = select(models).where(models.c.name > after).order_by(models.c.name).limit(limit)
    if name is not None:
        query = query.where(models.c.name == name)
    return models_of(connection, connection.execute(query).all())


def models_of(connection: Connection, rows: Sequence[Row[Any]]) -> list[Model]:
    """Make models of rows of their table."""
    names = [row.name for row in rows]
    latest = _latest(connection, names)
    aliases = aliases_of(connection, names)
    tags: dict[str, dict[str, str]] = {name: {} for name in names}
    query = select(model_tags).where(model_tags.c.name.in_(names)).order_by(model_tags.c.key)
    for name, key, value in connection.execute(query):
        tags[name][key] = value
    return [
        Model(
            name=row.name,
            description=row.description,
            created=row.created,
            updated=row.updated,
            latest=latest.get(row.name),
            aliases=aliases.get(row.name, {}),
            tags=tags[row.name],
        )
        for row in rows
    ]


def require_model(connection: Connection, name: str) -> Model:
    """Get a model; raises NotFound."""
    found = find_models(connection, name=name, limit=1)
    if not found:
        raise NotFound(f"there is no model {name}; `mainspring model list` shows those there are", model_name=name)
    return found[0]


def require_version(connection: Connection, name: str, version: int) -> ModelVersion:
    """Get a version; raises NotFound."""
    found = find_version(connection, name, version)
    if found is None:
        raise NotFound(f"model {name} has no version {version}", model_name=name, model_version=version)
    return found


def _latest(connection: Connection, names: Sequence[str]) -> dict[str, int]:
    versions = model_versions.c
    query = select(versions.name, func.max(versions.version)).where(versions.name.in_(names)).group_by(versions.name)
    return {name: int(version) for name, version in connection.execute(query)}


# Versions -------------------------------------------------------------------------------------------------------------


def next_version(connection: Connection, name: str) -> int:
    """Give the number of the next version; call it with the model locked."""
    given_up = connection.execute(select(model_numbers.c.last).where(model_numbers.c.name == name)).scalar() or 0
    return max(_latest(connection, [name]).get(name, 0), given_up) + 1


def insert_version(connection: Connection, version: ModelVersion, token: str | None) -> None:
    """Add a version."""
    told = {column.name: getattr(version, column.name) for column in model_versions.c if column.name != "token"}
    connection.execute(model_versions.insert(), {**told, "updated": version.created, "token": token})
    set_version_tags(connection, version, version.tags)


def version_by_token(connection: Connection, token: str) -> ModelVersion | None:
    """Find the version that was registered with this token."""
    return _one_version(connection, model_versions.c.token == token)


def find_version(connection: Connection, name: str, version: int) -> ModelVersion | None:
    """Find one version."""
    return _one_version(connection, (model_versions.c.name == name) & (model_versions.c.version == version))


def find_versions(
    connection: Connection, name: str, *, stage: Stage | None = None, before: int | None = None, limit: int = 100
) -> list[ModelVersion]:
    """List versions of a model, newest first."""
    query = model_versions.c.name == name
    if stage is not None:
        query &= model_versions.c.stage == stage
    if before is not None:
        query &= model_versions.c.version < before
    return _versions(connection, query, limit)


def versions_of_run(connection: Connection, run: str) -> list[ModelVersion]:
    """List the versions that came from a run."""
    return _versions(connection, model_versions.c.run == run, 1000)


def set_version(connection: Connection, version: ModelVersion, values: Mapping[str, Any]) -> None:
    """Change columns of a version."""
    where = (model_versions.c.name == version.name) & (model_versions.c.version == version.version)
    connection.execute(update(model_versions).where(where).values(**values))


def _one_version(connection: Connection, where: Any) -> ModelVersion | None:
    found = _versions(connection, where, 1)
    return found[0] if found else None


def _versions(connection: Connection, where: Any, limit: int) -> list[ModelVersion]:
    query = select(model_versions).where(where).order_by(model_versions.c.version.desc()).limit(limit)
    return versions_of(connection, connection.execute(query).all())


def versions_of(connection: Connection, rows: Sequence[Row[Any]]) -> list[ModelVersion]:
    """Make versions of rows of their table."""
    aliases: dict[str, dict[str, int]] = {}
    for names in batched({row.name for row in rows}):
        aliases |= aliases_of(connection, names)
    tags: dict[tuple[str, int], dict[str, str]] = {(row.name, row.version): {} for row in rows}
    for part in batched(tags):
        c = model_version_tags.c
        query = select(model_version_tags).where(tuple_(c.name, c.version).in_(part)).order_by(c.key)
        for name, version, key, value in connection.execute(query):
            tags[name, version][key] = value
    found = []
    for row in rows:
        values = dict(row._mapping)
        del values["token"]
        pointing = sorted(a for a, version in aliases.get(row.name, {}).items() if version == row.version)
        found.append(ModelVersion(**values, aliases=pointing, tags=tags[row.name, row.version]))
    return found


def batched(keys: Iterable[T], size: int = 500) -> Iterator[list[T]]:
    """Give *keys* in lists that a query can name."""
    left = iter(keys)
    while part := list(islice(left, size)):
        yield part


# Stages and aliases ---------------------------------------------------------------------------------------------------


def add_stage(connection: Connection, version: ModelVersion, stage: Stage, at: datetime, reason: str) -> None:
    """Bring a version to a stage, and remember it."""
    set_version(connection, version, {"stage": stage, "updated": at})
    set_model(connection, version.name, {"updated": at})
    actor = current_actor().name
    row = {"name": version.name, "version": version.version, "stage": stage, "at": at, "actor": actor, "reason": reason}
    connection.execute(model_stages.insert(), row)


def stages_of(connection: Connection, name: str, version: int) -> list[StageChange]:
    """List the stages of a version, oldest first."""
    c = model_stages.c
    query = select(c.version, c.stage, c.at, c.actor, c.reason).where((c.name == name) & (c.version == version))
    return [StageChange(*row) for row in connection.execute(query.order_by(c.id))]


def aliases_of(connection: Connection, names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Give where the aliases of some models point."""
    found: dict[str, dict[str, int]] = {}
    query = select(model_aliases).where(model_aliases.c.name.in_(names)).order_by(model_aliases.c.alias)
    for name, alias, version in connection.execute(query):
        found.setdefault(name, {})[alias] = version
    return found


def move_alias(
    connection: Connection, name: str, alias: str, version: int | None, previous: int | None, at: datetime, reason: str
) -> None:
    """Point an alias to a version, or remove it, and remember it."""
    if version is None:
        c = model_aliases.c
        connection.execute(model_aliases.delete().where((c.name == name) & (c.alias == alias)))
    else:
        row = {"name": name, "alias": alias, "version": version}
        upsert(connection, model_aliases, row, keys=["name", "alias"])
    move = {"name": name, "alias": alias, "version": version, "previous": previous, "at": at, "reason": reason}
    connection.execute(model_alias_moves.insert(), {**move, "actor": current_actor().name})


def moves_of(connection: Connection, name: str, alias: str) -> list[AliasMove]:
    """List the moves of an alias, oldest first."""
    c = model_alias_moves.c
    query = select(c.alias, c.version, c.previous, c.at, c.actor, c.reason)
    rows = connection.execute(query.where((c.name == name) & (c.alias == alias)).order_by(c.id))
    return [AliasMove(*row) for row in rows]


# Gate reports ---------------------------------------------------------------------------------------------------------


def insert_report(connection: Connection, name: str, version: int, report: GateReport, token: str | None) -> None:
    """Keep a report."""
    row = {"ref": report.ref, "name": name, "version": version, "report": report, "token": token}
    connection.execute(gate_reports.insert(), row)


def find_report(connection: Connection, ref: str) -> GateReport | None:
    """Find a report by its ref."""
    return connection.execute(select(gate_reports.c.report).where(gate_reports.c.ref == ref)).scalar_one_or_none()


def report_by_token(connection: Connection, token: str) -> GateReport | None:
    """Find the report that was asked for with this token."""
    return connection.execute(select(gate_reports.c.report).where(gate_reports.c.token == token)).scalar_one_or_none()


def reports_of(connection: Connection, name: str, version: int, limit: int = 100) -> list[GateReport]:
    """List the reports of a version, newest first."""
    c = gate_reports.c
    query = select(c.report).where((c.name == name) & (c.version == version)).order_by(c.ref.desc()).limit(limit)
    return list(connection.execute(query).scalars())
