"""How versions move: to another stage, under an alias, or both by a promotion; each with the event that says so."""

from __future__ import annotations

from datetime import datetime

from mainspring.core.refs import Ref, ref
from mainspring.registry import store
from mainspring.registry.events import AliasMoved, ModelPromoted, StageChanged
from mainspring.registry.gate_model import GateReport
from mainspring.registry.model import Model, ModelVersion, Stage, is_prompt
from mainspring.storage.sql.journal import emit


def to_stage(connection: store.Connection, version: ModelVersion, stage: Stage, reason: str, now: datetime) -> None:
    """Bring a version to a stage; nothing when it is there."""
    if version.stage == stage:
        return
    store.add_stage(connection, version, stage, now, reason)
    emit(connection, StageChanged(model=version.ref, stage=stage, previous=version.stage, reason=reason))


def point(connection: store.Connection, version: ModelVersion, alias: str, reason: str, now: datetime) -> None:
    """Point an alias to a version; nothing when it does already. The model must be locked."""
    model = store.require_model(connection, version.name)
    previous = model.aliases.get(alias)
    if previous == version.version:
        return
    store.move_alias(connection, version.name, alias, version.version, previous, now, reason)
    before = None if previous is None else ref("model", version.name, previous)
    moved = AliasMoved(
        alias=alias_ref(version.name, alias),
        model=version.ref,
        previous=before,
        reason=reason,
        prompt=is_prompt(model.tags),
    )
    emit(connection, moved)


def unpoint(connection: store.Connection, model: Model, alias: str, reason: str, now: datetime) -> None:
    """Remove an alias that the model has. The model must be locked."""
    previous = model.aliases[alias]
    store.move_alias(connection, model.name, alias, None, previous, now, reason)
    moved = AliasMoved(
        alias=alias_ref(model.name, alias),
        model=None,
        previous=ref("model", model.name, previous),
        reason=reason,
        prompt=is_prompt(model.tags),
    )
    emit(connection, moved)


def promote(
    connection: store.Connection,
    version: ModelVersion,
    alias: str,
    previous: int | None,
    report: GateReport | None,
    forced: str | None,
    now: datetime,
) -> None:
    """Point an alias to a version in production; the one before it is archived. The model must be locked."""
    reason = f"forced: {forced}" if forced else f"passed {report.ref}" if report else ""
    if previous is not None:
        before = store.require_version(connection, version.name, previous)
        to_stage(connection, before, "archived", f"{version.ref} took its place as {alias}", now)
    to_stage(connection, version, "production", reason, now)
    store.move_alias(connection, version.name, alias, version.version, previous, now, reason)
    event = ModelPromoted(
        model=version.ref,
        alias=alias_ref(version.name, alias),
        previous=None if previous is None else ref("model", version.name, previous),
        report=None if report is None else report.ref,
        forced=forced,
    )
    emit(connection, event)


def alias_ref(name: str, alias: str) -> str:
    """Give ``model:name@alias``."""
    return str(Ref("model", name, alias=alias))
