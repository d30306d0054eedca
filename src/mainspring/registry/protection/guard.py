"""What stands between whoever moves an alias and a protected alias: every way leads through here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec

from mainspring.core.actor import current_actor
from mainspring.core.errors import ApprovalNeeded, GateRefused, InvalidRequest
from mainspring.core.ids import new_id
from mainspring.core.refs import Ref, ref
from mainspring.registry import store as registry_store
from mainspring.registry.events import PromotionRefused
from mainspring.registry.gate_model import Holdout, objections
from mainspring.registry.model import ModelVersion
from mainspring.registry.protection import store
from mainspring.registry.protection.events import PromotionRequested
from mainspring.registry.protection.model import NamedPolicy, PromotionRequest, Protection, Requirement
from mainspring.registry.protection.requirements import TrainingData, policy_of, report_under, requirements
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import emit


class Rows(TrainingData, Protocol):
    """Gives the rows of a dataset to measure gates on."""

    def holdout(self, dataset: str, target: str) -> Holdout: ...


Evaluate = Callable[[Holdout, NamedPolicy], Any]


def measure(database: Database, name: str, version: int, alias: str, rows: Rows | None, evaluate: Evaluate) -> None:
    """Measure the gates of a policy that says on which rows, where no report of it counts yet."""
    with database.read() as connection:
        protection = store.protection_of(connection, name, alias)
        if rows is None or protection is None or protection.gates is None:
            return
        policy = policy_of(connection, protection.gates)
        found = registry_store.require_version(connection, name, version)
        current = registry_store.require_model(connection, name).aliases.get(alias)
        last = report_under(connection, found, policy)
    content = policy.content
    if content.measured is None or not content.holdout or not content.target or current == version:
        return
    against = None if current is None else ref("model", name, current)
    if found.info is not None and (last is None or "champion_changed" in objections(last, against)):
        evaluate(rows.holdout(content.holdout, content.target), policy)


def is_protected(connection: store.Connection, name: str, alias: str) -> bool:
    """Tell whether an alias is protected."""
    return store.protection_of(connection, name, alias) is not None


def ask(
    connection: store.Connection,
    version: ModelVersion,
    alias: str,
    rows: Rows | None,
    *,
    promotes: bool,
    now: datetime,
    reason: str = "",
    force: str | None = None,
) -> GateRefused | None:
    """Let a version under an alias, or give the error to raise once the transaction is over.

    What waits for approvals becomes a request, which is there once however often somebody asks; it is done when its
    version comes under the alias. The model must be locked. Raises InvalidRequest for *force*.
    """
    protection = store.protection_of(connection, version.name, alias)
    if protection is None or alias in version.aliases:
        return None
    _refuse_force(force, protection)
    pending = store.pending_request(connection, version.name, version.version, alias)
    missing = unmet(connection, protection, version, rows)
    if not missing:
        if pending is not None:
            store.set_status(connection, pending, "done")
        return None
    whole, names = str(Ref("model", version.name, alias=alias)), [one.name for one in missing]
    if "approvals" in names and pending is None:
        pending = PromotionRequest(
            id=new_id(),
            name=version.name,
            version=version.version,
            alias=alias,
            promotes=promotes,
            status="pending",
            actor=current_actor().name,
            at=now,
            reason=reason,
        )
        store.add_request(connection, pending)
        missing = unmet(connection, protection, version, rows)
        emit(connection, PromotionRequested(request=pending.ref, model=version.ref, alias=whole, missing=names))
    elif names != ["approvals"]:
        emit(connection, PromotionRefused(model=version.ref, alias=whole, report=None, failed=_said(missing)))
    return _refusal(version, alias, missing, pending)


def unmet(
    connection: store.Connection, protection: Protection, version: ModelVersion, rows: Rows | None
) -> list[Requirement]:
    """List what is missing before a version may come under a protected alias."""
    return [one for one in requirements(connection, protection, version, rows) if not one.met]


def check_removal(connection: store.Connection, name: str, aliases: Sequence[str]) -> None:
    """Raise GateRefused when one of these aliases, which are to be removed, is protected."""
    for protection in store.protections_of(connection, name):
        if protection.alias in aliases:
            raise GateRefused(
                f"the alias {protection.alias} of model {name} is protected and is not removed: point it to another "
                f"version, or first `mainspring model unprotect {name} {protection.alias} --reason WHY`",
                model=f"model:{name}",
                alias=protection.alias,
            )


def _refuse_force(force: str | None, protection: Protection) -> None:
    if force:
        raise InvalidRequest(
            f"the alias {protection.alias} of {protection.name} is protected, which force does not change: bring what "
            f"is missing (`mainspring model requirements {protection.name} VERSION`), or unprotect it first"
        )


def _refusal(
    version: ModelVersion, alias: str, missing: list[Requirement], request: PromotionRequest | None
) -> GateRefused:
    facts = {
        "model": version.ref,
        "alias": alias,
        "missing": [msgspec.to_builtins(one) for one in missing],
        "request": None if request is None else request.ref,
    }
    said = f"{version.ref} does not come under {alias}, which is protected: {'; '.join(_said(missing))}"
    only_approvals = [one.name for one in missing] == ["approvals"]
    return ApprovalNeeded(said, **facts) if only_approvals else GateRefused(said, **facts)


def _said(missing: list[Requirement]) -> list[str]:
    return [f"{one.name}: {one.detail} (`{one.command}`)" for one in missing]
