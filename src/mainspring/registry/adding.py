"""How models and versions come into the registry, and what is written on them; each with the event that says so."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from mainspring.core.errors import InvalidData
from mainspring.core.refs import ref
from mainspring.registry import store
from mainspring.registry.events import ModelCreated, ModelRegistered, ModelTagDeleted, ModelTagSet
from mainspring.registry.model import Model, ModelVersion, is_prompt
from mainspring.registry.scanning import guarding
from mainspring.registry.scanning.model import ScanReport
from mainspring.storage.sql.journal import emit

NEEDS_SIGNATURE = "require_signature"
"""The tag of a model all of whose versions must say what they take: ``true``."""


def add_version(
    connection: store.Connection,
    draft: ModelVersion,
    now: datetime,
    token: str | None = None,
    scan: ScanReport | None = None,
) -> ModelVersion:
    """Add *draft* under the next number of its model, which must be locked, with the *scan* of its files.

    Raises InvalidData when the model asks for a signature and the draft has none.
    """
    _check_signature(connection, draft)
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
        card=version.card,
        tags=version.tags,
    )
    emit(connection, event)
    if scan is not None:
        guarding.note(connection, version, scan, now)
    return version


def _check_signature(connection: store.Connection, draft: ModelVersion) -> None:
    tags = store.require_model(connection, draft.name).tags
    signed = draft.info is not None and bool(draft.info.signature.inputs)
    if tags.get(NEEDS_SIGNATURE, "").lower() == "true" and not signed:
        why = f" ({draft.unservable})" if draft.unservable else ""
        raise InvalidData(
            f"versions of {draft.name} need a signature, and this model has none{why}; save it with one: "
            "mlflow...log_model(..., input_example=...)",
            name=draft.name,
        )


def add_model(connection: store.Connection, model: Model) -> bool:
    """Add a model; False when there is one of the name."""
    if not store.insert_model(connection, model):
        return False
    emit(connection, ModelCreated(model=ref("model", model.name), description=model.description, tags=model.tags))
    return True


def tag_model(connection: store.Connection, model: Model, tags: Mapping[str, str]) -> None:
    """Set tags of a model, replacing those of the same key."""
    store.set_model_tags(connection, model.name, tags)
    prompt = is_prompt({**model.tags, **tags})
    for key, value in tags.items():
        emit(connection, ModelTagSet(model=ref("model", model.name), key=key, value=value, prompt=prompt))


def tag_version(connection: store.Connection, version: ModelVersion, tags: Mapping[str, str]) -> None:
    """Set tags of a version, replacing those of the same key."""
    store.set_version_tags(connection, version, tags)
    prompt = is_prompt(store.require_model(connection, version.name).tags)
    for key, value in tags.items():
        emit(connection, ModelTagSet(model=version.ref, key=key, value=value, prompt=prompt))


def note_untagged(connection: store.Connection, tagged: str, model: Model, key: str) -> None:
    """Say that a tag of *tagged*, the ref of the model or of a version of it, is gone."""
    emit(connection, ModelTagDeleted(model=tagged, key=key, prompt=is_prompt(model.tags)))
