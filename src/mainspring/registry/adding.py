"""How a version comes into the registry: numbered, in its first stage, with the event that says so."""

from __future__ import annotations

from datetime import datetime

import msgspec

from mainspring.registry import store
from mainspring.registry.events import ModelRegistered
from mainspring.registry.model import ModelVersion
from mainspring.registry.scanning import guarding
from mainspring.registry.scanning.model import ScanReport
from mainspring.storage.sql.journal import emit


def add_version(
    connection: store.Connection,
    draft: ModelVersion,
    now: datetime,
    token: str | None = None,
    scan: ScanReport | None = None,
) -> ModelVersion:
    """Add *draft* under the next number of its model, which must be locked, with the *scan* of its files."""
    number = store.next_version(connection, draft.name)
    version = msgspec.structs.replace(draft, version=number, created=now, updated=now)
    store.insert_version(connection, version, token)
    store.add_stage(connection, version, "development", now, "registered")
    event = ModelRegistered(
        model=version.ref,
        digest=version.digest,
        run=version.run,
        dataset=version.dataset,
        trusted=version.trusted,
        source=version.source,
    )
    emit(connection, event)
    if scan is not None:
        guarding.note(connection, version, scan, now)
    return version
