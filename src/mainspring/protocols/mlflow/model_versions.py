"""``model-versions/...``: MLflow's model versions over ours."""

from __future__ import annotations

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.protocols.mlflow.calls import CallList, Empty, Services
from mainspring.protocols.mlflow.entities import KeyValue, texts
from mainspring.protocols.mlflow.registered_models import Number, VersionAnswer, VersionsAnswer
from mainspring.protocols.mlflow.registry_entities import (
    IS_PROMPT,
    Search,
    checked_tags,
    next_token,
    plain,
    stage_of,
    version_entity,
)
from mainspring.protocols.mlflow.version_sources import Source, address_of, is_placeholder, note_version, read_source

DEFAULT_PAGE, MAX_PAGE = 10_000, 200_000
_NEWEST_FIRST = ["last_updated_timestamp DESC", "name ASC", "version_number DESC"]

calls = CallList()


class CreateVersion(msgspec.Struct):
    """What becomes the next version of a model, and where it came from."""

    name: str
    source: str
    run_id: str | None = None
    tags: list[KeyValue] = []
    run_link: str = ""
    description: str = ""
    model_id: str | None = None


class ByVersion(msgspec.Struct):
    """Which version is meant."""

    name: str
    version: Number


class UpdateVersion(msgspec.Struct):
    """Another description of a version."""

    name: str
    version: Number
    description: str = ""


class Transition(msgspec.Struct):
    """The stage that a version comes to, and whether those that are in it go to the archive."""

    name: str
    version: Number
    stage: str
    archive_existing_versions: bool = False


class SetTag(msgspec.Struct):
    """A tag of a version."""

    name: str
    version: Number
    key: str
    value: str = ""


class DeleteTag(msgspec.Struct):
    """Which tag of a version goes."""

    name: str
    version: Number
    key: str


class DownloadUri(msgspec.Struct):
    """Where the files of a version are read."""

    artifact_uri: str


@calls.on("POST", "model-versions/create")
def create(services: Services, ask: CreateVersion) -> VersionAnswer:
    """Register the next version of a model or a prompt."""
    tags = checked_tags(texts(ask.tags))
    services.registry.get_model(ask.name)
    if tags.get(IS_PROMPT, "").lower() == "true":
        if not is_placeholder(ask.source):
            raise InvalidRequest(
                f"Invalid prompt source: '{ask.source}'. Prompt sources must use an MLflow placeholder."
            )
        found = Source(ask.source, run=ask.run_id or None)
    else:
        found = read_source(services, ask.source, ask.run_id, ask.model_id)
    made = services.catalogue.record(
        ask.name,
        plain(found.uri),
        tree=found.tree,
        location=found.location,
        run=found.run,
        logged=found.logged,
        run_link=plain(ask.run_link) or None,
        card=plain(ask.description),
        tags=tags,
    )
    if found.logged is not None:
        note_version(services, found.logged, made)
    return VersionAnswer(version_entity(made))


@calls.on("PATCH", "model-versions/update")
def update(services: Services, ask: UpdateVersion) -> VersionAnswer:
    """Change the description of a version, which is its card."""
    return VersionAnswer(version_entity(services.catalogue.describe(ask.name, ask.version, plain(ask.description))))


@calls.on("POST", "model-versions/transition-stage")
def transition(services: Services, ask: Transition) -> VersionAnswer:
    """Bring a version to a stage."""
    stage = stage_of(ask.stage)
    if ask.archive_existing_versions and stage not in ("staging", "production"):
        raise InvalidRequest(
            f"Model version transition cannot archive existing model versions because '{ask.stage}' is not an Active "
            "stage. Valid stages are Staging, Production"
        )
    moved = services.catalogue.bring(ask.name, ask.version, stage, archive_others=ask.archive_existing_versions)
    return VersionAnswer(version_entity(moved))


@calls.on("DELETE", "model-versions/delete")
def delete(services: Services, ask: ByVersion) -> Empty:
    """Delete a version."""
    services.catalogue.delete_version(ask.name, ask.version)
    return Empty()


@calls.on("GET", "model-versions/get")
def get(services: Services, ask: ByVersion) -> VersionAnswer:
    """Get a version."""
    return VersionAnswer(version_entity(services.registry.get_version(ask.name, ask.version)))


@calls.on("GET POST", "model-versions/search")
def search(services: Services, ask: Search) -> VersionsAnswer:
    """Find versions, those that changed last first."""
    limit = ask.limit(DEFAULT_PAGE, MAX_PAGE)
    where, without = ask.where()
    order = msgspec.structs.replace(ask, order_by=ask.order_by or _NEWEST_FIRST).order()
    found = services.catalogue.search_versions(where, order, without=without, limit=limit + 1, offset=ask.offset)
    told = [version_entity(version) for version in found[:limit]]
    return VersionsAnswer(told, next_token(ask.offset, limit, len(found)))


@calls.on("GET", "model-versions/get-download-uri")
def get_download_uri(services: Services, ask: ByVersion) -> DownloadUri:
    """Say where the files of a version are read."""
    return DownloadUri(address_of(services, services.registry.get_version(ask.name, ask.version)))


@calls.on("POST", "model-versions/set-tag")
def set_tag(services: Services, ask: SetTag) -> Empty:
    """Set a tag of a version."""
    services.registry.tag_version(ask.name, ask.version, checked_tags({ask.key: ask.value}))
    return Empty()


@calls.on("DELETE", "model-versions/delete-tag")
def delete_tag(services: Services, ask: DeleteTag) -> Empty:
    """Remove a tag of a version."""
    services.catalogue.delete_version_tag(ask.name, ask.version, ask.key)
    return Empty()
