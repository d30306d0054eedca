"""The tables of endpoints, releases and their changes, and the SQL."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Float, ForeignKey, Index, Integer, Row, Select, Table, Text, func, select

from mainspring.core.errors import NotFound
from mainspring.core.refs import Ref, ref
from mainspring.registry.signature import Task
from mainspring.releases.model import Action, Candidate, Change, Endpoint, EndpointStatus, Release
from mainspring.releases.stages import Move
from mainspring.storage.sql.schema import Identity64, Instant, Packed, metadata, upsert

endpoints = Table(
    "endpoints",
    metadata,
    Column("name", Text, primary_key=True),
    Column("task", Text),
    Column("metric", Text),
    Column("stable", Integer),
    Column("canary", Integer),
    Column("canary_share", Float, nullable=False),
    Column("created", Instant, nullable=False),
)

releases = Table(
    "releases",
    metadata,
    Column("endpoint", Text, ForeignKey("endpoints.name"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("model", Text, nullable=False, index=True),
    Column("pinned", Packed(Candidate), nullable=False),
    Column("configuration", Packed(dict[str, Any]), nullable=False),
    Column("created", Instant, nullable=False),
    Column("actor", Text, nullable=False),
    Column("token", Text, unique=True),
)

changes = Table(
    "release_changes",
    metadata,
    Column("number", Identity64, primary_key=True),
    Column("endpoint", Text, ForeignKey("endpoints.name"), nullable=False),
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("release", Integer, nullable=False),
    Column("replaced", Integer),
    Column("share", Float, nullable=False),
    Column("reason", Text, nullable=False),
    Column("token", Text, unique=True),
    Index("ix_release_changes_endpoint", "endpoint", "number"),
    sqlite_autoincrement=True,
)


def insert_endpoint(connection: Connection, name: str, task: Task | None, metric: str | None, now: datetime) -> bool:
    """Insert an endpoint that serves nothing yet, and tell whether its name was free."""
    row = {"name": name, "task": task, "metric": metric, "canary_share": 0.0, "created": now}
    return upsert(connection, endpoints, row, keys=["name"], update=[]) == 1


def find_endpoint(connection: Connection, name: str, *, lock: bool = False) -> Endpoint:
    """Find an endpoint; with *lock*, nobody else changes it until this transaction ends. Raises NotFound."""
    query = select(endpoints).where(endpoints.c.name == name)
    found = _endpoints(connection, query.with_for_update() if lock else query)
    if not found:
        raise NotFound(f"no endpoint {name!r}; deploy a model to make it: mainspring deploy {name} MODEL", name=name)
    return found[0]


def find_status(connection: Connection, name: str, *, lock: bool = False) -> EndpointStatus:
    """Find an endpoint with its releases in full; *lock* as in `find_endpoint`. Raises NotFound."""
    endpoint = find_endpoint(connection, name, lock=lock)
    # From the one row that was read: a change that commits meanwhile must not mix its releases with this share.
    stable, canary = (
        None if served is None else Ref.parse(served).version for served in (endpoint.stable, endpoint.canary)
    )
    found = [
        None if version is None else find_release(connection, name, version)
        for version in (stable, canary, previous_stable(connection, name))
    ]
    return EndpointStatus(endpoint=endpoint, stable=found[0], canary=found[1], previous=found[2])


def find_served(connection: Connection, name: str) -> Release | None:
    """Find the stable release of an endpoint; None when it has none, or is not there."""
    stable = connection.execute(select(endpoints.c.stable).where(endpoints.c.name == name)).scalar()
    return None if stable is None else find_release(connection, name, stable)


def find_endpoints(connection: Connection) -> list[Endpoint]:
    """List all endpoints by name."""
    return _endpoints(connection, select(endpoints).order_by(endpoints.c.name))


def set_purpose(connection: Connection, name: str, task: Task | None, metric: str | None) -> None:
    """Record what the endpoint is for."""
    connection.execute(endpoints.update().where(endpoints.c.name == name).values(task=task, metric=metric))


def set_served(connection: Connection, name: str, *, stable: int | None, canary: int | None, share: float) -> None:
    """Record what the endpoint serves."""
    values = {"stable": stable, "canary": canary, "canary_share": share}
    connection.execute(endpoints.update().where(endpoints.c.name == name).values(values))


def insert_release(connection: Connection, release: Release, token: str | None) -> None:
    """Insert a release."""
    row = {
        "endpoint": release.endpoint,
        "version": release.version,
        "model": release.model,
        "pinned": release.pinned,
        "configuration": release.configuration,
        "created": release.created,
        "actor": release.actor,
        "token": token,
    }
    connection.execute(releases.insert(), row)


def next_version(connection: Connection, endpoint: str) -> int:
    """Give the number of the endpoint's next release; its row must be locked."""
    query = select(func.coalesce(func.max(releases.c.version), 0)).where(releases.c.endpoint == endpoint)
    return int(connection.execute(query).scalar_one()) + 1


def find_release(connection: Connection, endpoint: str, version: int) -> Release:
    """Find a release; raises NotFound."""
    query = select(releases).where(releases.c.endpoint == endpoint, releases.c.version == version)
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"endpoint {endpoint} has no release {version}", endpoint=endpoint, version=version)
    return _release(row)


def find_release_by_token(connection: Connection, token: str) -> Release | None:
    """Find the release that was deployed with this token."""
    row = connection.execute(select(releases).where(releases.c.token == token)).first()
    return None if row is None else _release(row)


def find_releases(connection: Connection, endpoint: str) -> list[Release]:
    """List the releases of an endpoint, the newest first."""
    query = select(releases).where(releases.c.endpoint == endpoint).order_by(releases.c.version.desc())
    return [_release(row) for row in connection.execute(query)]


def insert_change(
    connection: Connection,
    endpoint: str,
    action: Action,
    *,
    release: int,
    replaced: int | None,
    share: float,
    reason: str,
    now: datetime,
    actor: str,
    token: str | None = None,
) -> None:
    """Insert one line of the endpoint's history."""
    row = {
        "endpoint": endpoint,
        "at": now,
        "actor": actor,
        "action": action,
        "release": release,
        "replaced": replaced,
        "share": share,
        "reason": reason,
        "token": token,
    }
    connection.execute(changes.insert(), row)


def find_changes(connection: Connection, endpoint: str, limit: int) -> list[Change]:
    """List the history of an endpoint, the newest first."""
    query = select(changes).where(changes.c.endpoint == endpoint).order_by(changes.c.number.desc()).limit(limit)
    return [_change(row) for row in connection.execute(query)]


def is_done(connection: Connection, token: str) -> bool:
    """Tell whether a change was made with this token."""
    return connection.execute(select(changes.c.number).where(changes.c.token == token)).first() is not None


def last_number(connection: Connection) -> int:
    """Give the number of the latest change of any endpoint; 0 before the first."""
    return int(connection.execute(select(func.coalesce(func.max(changes.c.number), 0))).scalar_one())


def previous_stable(connection: Connection, endpoint: str) -> int | None:
    """Give the release that was stable before the present one became so."""
    became = ("deployed", "canary_promoted", "rolled_back")
    query = select(changes.c.replaced).where(changes.c.endpoint == endpoint, changes.c.action.in_(became))
    replaced = connection.execute(query.order_by(changes.c.number.desc()).limit(1)).scalar()
    return None if replaced is None else int(replaced)


def find_moves(connection: Connection, models: Iterable[str] | None) -> list[Move]:
    """List the changes in which these models took part (None: all models), the oldest first."""
    came, went = releases.alias("came"), releases.alias("went")
    query = (
        select(changes.c.endpoint, changes.c.action, came.c.model, went.c.model.label("replaced"))
        .join(came, (came.c.endpoint == changes.c.endpoint) & (came.c.version == changes.c.release))
        .outerjoin(went, (went.c.endpoint == changes.c.endpoint) & (went.c.version == changes.c.replaced))
        .order_by(changes.c.number)
    )
    if models is not None:
        names = list(models)
        query = query.where(came.c.model.in_(names) | went.c.model.in_(names))
    return [Move(row.endpoint, row.action, row.model, row.replaced) for row in connection.execute(query)]


def _endpoints(connection: Connection, query: Select[Any]) -> list[Endpoint]:
    rows = connection.execute(query).all()
    models = _models(connection, [row.name for row in rows])
    return [_endpoint(row, models) for row in rows]


def _models(connection: Connection, names: list[str]) -> dict[tuple[str, int], str]:
    query = select(releases.c.endpoint, releases.c.version, releases.c.model).where(releases.c.endpoint.in_(names))
    served = endpoints.c.stable == releases.c.version, endpoints.c.canary == releases.c.version
    query = query.join(endpoints, endpoints.c.name == releases.c.endpoint).where(served[0] | served[1])
    return {(row.endpoint, row.version): row.model for row in connection.execute(query)}


def _endpoint(row: Row[Any], models: dict[tuple[str, int], str]) -> Endpoint:
    return Endpoint(
        name=row.name,
        task=row.task,
        metric=row.metric,
        stable=_release_ref(row.name, row.stable),
        model=models.get((row.name, row.stable)),
        canary=_release_ref(row.name, row.canary),
        canary_model=models.get((row.name, row.canary)),
        canary_share=row.canary_share,
        created=row.created,
    )


def _release(row: Row[Any]) -> Release:
    return Release(
        endpoint=row.endpoint,
        version=row.version,
        pinned=row.pinned,
        configuration=row.configuration,
        created=row.created,
        actor=row.actor,
    )


def _change(row: Row[Any]) -> Change:
    release = ref("release", row.endpoint, row.release)
    return Change(
        number=row.number,
        endpoint=row.endpoint,
        at=row.at,
        actor=row.actor,
        action=row.action,
        release=release,
        replaced=_release_ref(row.endpoint, row.replaced),
        share=row.share,
        reason=row.reason,
    )


def _release_ref(endpoint: str, version: int | None) -> str | None:
    return None if version is None else ref("release", endpoint, version)
