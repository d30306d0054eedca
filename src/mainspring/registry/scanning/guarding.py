"""What stands before the registry: files are looked through, and no version is made of those that are dangerous."""

from __future__ import annotations

from datetime import datetime

from mainspring.core.actor import current_actor
from mainspring.core.errors import UnsafeModel
from mainspring.core.refs import ref
from mainspring.registry.model import ModelVersion
from mainspring.registry.scanning import store
from mainspring.registry.scanning.events import ModelScanned, RegistrationRefused
from mainspring.registry.scanning.files import scan_tree
from mainspring.registry.scanning.model import ScanReport, VersionScan
from mainspring.storage.objects.store import ObjectStore
from mainspring.storage.objects.tree import tree_entries
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import emit

_TOLD = 3


def look_through(database: Database, objects: ObjectStore, tree: str) -> ScanReport:
    """Scan the files of a tree, those that somebody allowed for what they are."""
    with database.read() as connection:
        allowed = store.allowed_of(connection, {entry.digest for entry in tree_entries(objects, tree)})
    return scan_tree(objects, tree, allowed)


def let_pass(database: Database, name: str, report: ScanReport) -> None:
    """Do nothing for files that may be registered.

    Raises UnsafeModel for others, with what was found and how somebody who knows better goes on; the refusal is kept
    in the audit log.
    """
    if not report.dangers:
        return
    said = [f"{danger.where} {danger.what}" for danger in report.dangers]
    with database.begin() as connection:
        emit(connection, RegistrationRefused(model=ref("model", name), tree=report.tree, dangers=said[:50]))
    more = f" (and {len(said) - _TOLD} more)" if len(said) > _TOLD else ""
    files = list(dict.fromkeys(danger.digest for danger in report.dangers))
    raise UnsafeModel(
        f"no version of {name} was made, because its files would run code of their own when they are loaded: "
        f"{'; '.join(said[:_TOLD])}{more}. Save the model in a format without code (ONNX, safetensors, skops), or, if "
        f"you know its author and have looked at it, `mainspring model allow-file {files[0]} REASON` and register it "
        "again",
        model=ref("model", name),
        files=files,
        findings=said[:50],
    )


def note(connection: store.Connection, version: ModelVersion, report: ScanReport, at: datetime) -> VersionScan:
    """Keep the report of a version with it."""
    scan = VersionScan(model=version.ref, verdict=report.verdict, at=at, actor=current_actor().name, report=report)
    store.keep(connection, version.name, version.version, scan)
    event = ModelScanned(
        model=version.ref,
        verdict=report.verdict,
        pickles=len(report.pickles),
        dangers=[f"{danger.where} {danger.what}" for danger in report.dangers][:50],
        allowed=report.allowed,
    )
    emit(connection, event)
    return scan
