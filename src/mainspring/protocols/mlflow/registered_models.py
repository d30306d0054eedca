"""``registered-models/...``: MLflow's registered models over our models; prompts are models with a tag."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from mainspring.core.errors import AlreadyExists, InvalidRequest, NotFound
from mainspring.core.refs import check_free_name
from mainspring.protocols.mlflow.calls import CallList, Empty, Services
from mainspring.protocols.mlflow.entities import KeyValue, texts
from mainspring.protocols.mlflow.registry_entities import (
    IS_PROMPT,
    ModelEntity,
    Search,
    VersionEntity,
    checked_tags,
    latest_of_stages,
    model_entity,
    next_token,
    plain,
    stage_of,
    stage_word,
    version_entity,
)
from mainspring.registry.model import Model

DEFAULT_PAGE, MAX_PAGE = 100, 1_000
LATEST = "latest"
"""The alias that always means the highest version and cannot be set."""

_RESERVED = re.compile(r"[vV]\d+")

calls = CallList()
Number = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]
"""The number of a version, which clients write as a text."""


class CreateModel(msgspec.Struct):
    """What a new model is called."""

    name: str
    tags: list[KeyValue] = []
    description: str = ""


class Rename(msgspec.Struct):
    """The other name of a model."""

    name: str
    new_name: str = ""


class UpdateModel(msgspec.Struct):
    """Another description of a model."""

    name: str
    description: str = ""


class ByName(msgspec.Struct):
    """Which model is meant."""

    name: str


class LatestVersions(msgspec.Struct):
    """Of which model the latest versions are asked for, and of which stages (none: of all)."""

    name: str
    stages: list[str] = []


class SetTag(msgspec.Struct):
    """A tag of a model."""

    name: str
    key: str
    value: str = ""


class DeleteTag(msgspec.Struct):
    """Which tag of a model goes."""

    name: str
    key: str


class SetAlias(msgspec.Struct):
    """An alias of a model, and the version that it shall point to."""

    name: str
    alias: str
    version: Number


class ByAlias(msgspec.Struct):
    """Which alias of a model is meant."""

    name: str
    alias: str


class ModelAnswer(msgspec.Struct):
    """One registered model."""

    registered_model: ModelEntity


class ModelsAnswer(msgspec.Struct, omit_defaults=True):
    """A page of registered models."""

    registered_models: list[ModelEntity] = []
    next_page_token: str = ""


class VersionsAnswer(msgspec.Struct, omit_defaults=True):
    """Versions, a page of them where there may be many."""

    model_versions: list[VersionEntity] = []
    next_page_token: str = ""


class VersionAnswer(msgspec.Struct):
    """One version."""

    model_version: VersionEntity


@calls.on("POST", "registered-models/create")
def create(services: Services, ask: CreateModel) -> ModelAnswer:
    """Create a model, or a prompt."""
    tags = checked_tags(texts(ask.tags))
    try:
        made = services.registry.create_model(ask.name, plain(ask.description), tags)
    except AlreadyExists:
        known = services.registry.get_model(ask.name)
        raise AlreadyExists(_clash(known, tags), name=ask.name) from None
    return ModelAnswer(model_entity(made))


@calls.on("POST", "registered-models/rename")
def rename(services: Services, ask: Rename) -> ModelAnswer:
    """Give a model another name."""
    services.catalogue.rename(ask.name, ask.new_name)
    return _told(services, ask.new_name)


@calls.on("PATCH", "registered-models/update")
def update(services: Services, ask: UpdateModel) -> ModelAnswer:
    """Change the description of a model."""
    services.registry.update_model(_known_name(ask.name), plain(ask.description))
    return _told(services, ask.name)


@calls.on("DELETE", "registered-models/delete")
def delete(services: Services, ask: ByName) -> Empty:
    """Delete a model with its versions."""
    services.catalogue.delete_model(_known_name(ask.name))
    return Empty()


@calls.on("GET", "registered-models/get")
def get(services: Services, ask: ByName) -> ModelAnswer:
    """Get a model."""
    return _told(services, ask.name)


@calls.on("GET POST", "registered-models/search")
def search(services: Services, ask: Search) -> ModelsAnswer:
    """Find models."""
    limit = ask.limit(DEFAULT_PAGE, MAX_PAGE)
    where, without = ask.where()
    found = services.catalogue.search_models(where, ask.order(), without=without, limit=limit + 1, offset=ask.offset)
    latest = services.catalogue.latest_by_stage([model.name for model in found[:limit]])
    models = [model_entity(model, latest[model.name]) for model in found[:limit]]
    return ModelsAnswer(models, next_token(ask.offset, limit, len(found)))


@calls.on("GET POST", "registered-models/get-latest-versions")
def get_latest_versions(services: Services, ask: LatestVersions) -> VersionsAnswer:
    """Give the latest version of each stage."""
    wanted = {stage_word(stage_of(word)) for word in ask.stages}
    services.registry.get_model(_known_name(ask.name))
    latest = latest_of_stages(services.catalogue.latest_by_stage([ask.name])[ask.name])
    told = [version_entity(version) for version in latest]
    return VersionsAnswer([version for version in told if not wanted or version.current_stage in wanted])


@calls.on("POST", "registered-models/set-tag")
def set_tag(services: Services, ask: SetTag) -> Empty:
    """Set a tag of a model."""
    services.registry.update_model(_known_name(ask.name), tags=checked_tags({ask.key: ask.value}))
    return Empty()


@calls.on("DELETE", "registered-models/delete-tag")
def delete_tag(services: Services, ask: DeleteTag) -> Empty:
    """Remove a tag of a model."""
    services.catalogue.delete_model_tag(_known_name(ask.name), ask.key)
    return Empty()


@calls.on("POST", "registered-models/alias")
def set_alias(services: Services, ask: SetAlias) -> Empty:
    """Point an alias to a version."""
    if ask.alias.lower() == LATEST:
        raise InvalidRequest("'latest' alias name (case insensitive) is reserved.")
    if _RESERVED.fullmatch(ask.alias):
        raise InvalidRequest(f"Version alias name '{ask.alias}' is reserved.")
    services.catalogue.point(_known_name(ask.name), ask.alias, ask.version)
    return Empty()


@calls.on("DELETE", "registered-models/alias")
def delete_alias(services: Services, ask: ByAlias) -> Empty:
    """Remove an alias; one that is not there is no error."""
    if ask.alias in services.registry.get_model(_known_name(ask.name)).aliases:
        services.registry.delete_alias(ask.name, ask.alias)
    return Empty()


@calls.on("GET", "registered-models/alias")
def get_by_alias(services: Services, ask: ByAlias) -> VersionAnswer:
    """Get the version that an alias points to."""
    model = services.registry.get_model(_known_name(ask.name))
    number = model.latest if ask.alias.lower() == LATEST else model.aliases.get(ask.alias)
    if number is None and ask.alias.lower() == LATEST:
        raise NotFound(f"Latest version not found for model {ask.name}.")
    if number is None:
        raise InvalidRequest(f"Registered model alias {ask.alias} not found.")
    return VersionAnswer(version_entity(services.registry.get_version(ask.name, number)))


def _told(services: Services, name: str) -> ModelAnswer:
    model = services.registry.get_model(_known_name(name))
    return ModelAnswer(model_entity(model, services.catalogue.latest_by_stage([name])[name]))


def _known_name(name: str) -> str:
    # What cannot be a name is said to be none, rather than not to be there.
    return check_free_name(name, "registered model")


def _clash(known: Model, tags: dict[str, str]) -> str:
    is_prompt, wanted = known.tags.get(IS_PROMPT) == "true", tags.get(IS_PROMPT) == "true"
    if is_prompt == wanted:
        return f"{'Prompt' if wanted else 'Registered Model'} (name={known.name}) already exists."
    there = "prompt" if is_prompt else "registered model"
    return f"A {there} with the name {known.name!r} already exists; models and prompts share their names."
