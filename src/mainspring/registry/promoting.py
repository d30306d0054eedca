"""Whether the gates let a version be promoted: the report that counts, and the refusal that says why not."""

from __future__ import annotations

from mainspring.core.errors import GateRefused, InvalidRequest, NotFound
from mainspring.core.refs import ref
from mainspring.registry import store
from mainspring.registry.events import PromotionRefused
from mainspring.registry.gate_model import GateReport, objections
from mainspring.registry.model import ModelVersion
from mainspring.registry.transitions import alias_ref
from mainspring.storage.sql.journal import emit


def report_of(connection: store.Connection, version: ModelVersion, report: str | None) -> GateReport | None:
    """Give the report that is named, else the latest of the version.

    Raises NotFound, InvalidRequest for a report about another version.
    """
    if report is None:
        latest = store.reports_of(connection, version.name, version.version, 1)
        return latest[0] if latest else None
    found = store.find_report(connection, report)
    if found is None:
        raise NotFound(f"there is no gate report {report}", report=report)
    if found.model != version.ref:
        raise InvalidRequest(f"{report} is about {found.model}, not about {version.ref}", report=report)
    return found


def objected(name: str, used: GateReport | None, previous: int | None) -> dict[str, str]:
    """Say by name what stands against a promotion past the version that is there now."""
    return objections(used, None if previous is None else ref("model", name, previous))


def refusal(
    connection: store.Connection,
    version: ModelVersion,
    alias: str,
    previous: int | None,
    used: GateReport | None,
    force: str | None,
) -> GateRefused | None:
    """Give the error that stands for what speaks against a promotion; None when nothing does, or *force* is given.

    It is kept in the audit log: raise it outside of the transaction.
    """
    failed = objected(version.name, used, previous)
    if not failed or force:
        return None
    event = PromotionRefused(
        model=version.ref,
        alias=alias_ref(version.name, alias),
        report=None if used is None else used.ref,
        failed=list(failed.values()),
    )
    emit(connection, event)
    return GateRefused(
        f"{version.ref} is not promoted to {alias}: {'; '.join(failed.values())}",
        model=version.ref,
        report=None if used is None else used.ref,
        failed=list(failed),
    )
