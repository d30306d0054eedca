"""Models and versions of the registry on the wire: stages, tags and pages as MLflow's clients have them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.core.filters import AllOf, Comparison, Filter, Order, parse_filter, parse_order
from mainspring.core.refs import Ref
from mainspring.protocols.mlflow.entities import KeyValue, milliseconds, pairs
from mainspring.registry.model import PROMPT_TAG, Model, ModelVersion, Stage

IS_PROMPT = PROMPT_TAG

MAX_TAG_KEY_CHARS, MAX_TAG_CHARS = 250, 100_000
_TAGS = {"tag": "tag", "tags": "tag", "attribute": "attribute"}

_STAGES: dict[Stage, str] = {
    "development": "None",
    "staging": "Staging",
    "production": "Production",
    "archived": "Archived",
    "failed": "Archived",
    "rolled_back": "Archived",
}
_BY_WORD: dict[str, Stage] = {
    "none": "development",
    "staging": "staging",
    "production": "production",
    "archived": "archived",
}


class AliasEntity(msgspec.Struct):
    """An alias, and the version that it points to."""

    alias: str
    version: str


class VersionEntity(msgspec.Struct, omit_defaults=True):
    """A version on the wire."""

    name: str
    version: str
    creation_timestamp: int
    last_updated_timestamp: int
    current_stage: str
    status: str
    description: str = ""
    source: str = ""
    run_id: str = ""
    run_link: str = ""
    model_id: str = ""
    tags: list[KeyValue] = []
    aliases: list[str] = []


class ModelEntity(msgspec.Struct, omit_defaults=True):
    """A registered model on the wire, with the latest version of each stage."""

    name: str
    creation_timestamp: int
    last_updated_timestamp: int
    description: str = ""
    latest_versions: list[VersionEntity] = []
    tags: list[KeyValue] = []
    aliases: list[AliasEntity] = []


def version_entity(version: ModelVersion) -> VersionEntity:
    """Give a version as it is told to clients."""
    return VersionEntity(
        name=version.name,
        version=str(version.version),
        creation_timestamp=milliseconds(version.created),
        last_updated_timestamp=milliseconds(version.updated or version.created),
        current_stage=stage_word(version.stage),
        status="READY",
        description=version.card,
        source=version.source or version.digest or "",
        run_id="" if version.run is None else Ref.parse(version.run, kind="run").name,
        run_link=version.run_link or "",
        model_id=version.logged or "",
        tags=pairs(version.tags),
        aliases=version.aliases,
    )


def model_entity(model: Model, latest: Sequence[ModelVersion] = ()) -> ModelEntity:
    """Give a model as it is told to clients."""
    return ModelEntity(
        name=model.name,
        creation_timestamp=milliseconds(model.created),
        last_updated_timestamp=milliseconds(model.updated or model.created),
        description=model.description,
        latest_versions=[version_entity(version) for version in latest_of_stages(latest)],
        tags=pairs(model.tags),
        aliases=[AliasEntity(alias, str(version)) for alias, version in model.aliases.items()],
    )


def latest_of_stages(versions: Iterable[ModelVersion]) -> list[ModelVersion]:
    """Give the latest version of each stage of MLflow's; several of ours are archived there."""
    found: dict[str, ModelVersion] = {}
    for version in sorted(versions, key=lambda one: one.version):
        found[stage_word(version.stage)] = version
    return sorted(found.values(), key=lambda one: one.version)


def stage_word(stage: Stage) -> str:
    """Give MLflow's word for a stage."""
    return _STAGES[stage]


def stage_of(word: str) -> Stage:
    """Read MLflow's word for a stage, in any case; raises InvalidRequest."""
    stage = _BY_WORD.get(word.lower())
    if stage is None:
        known = ", ".join(dict.fromkeys(_STAGES.values()))
        raise InvalidRequest(f"Invalid Model Version stage: {word}. Value must be one of {known}.")
    return stage


def checked_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Give tags back; raises InvalidRequest for one that is too long to be kept or has no key."""
    for key, value in tags.items():
        if not key or len(key) > MAX_TAG_KEY_CHARS or "\0" in key + value:
            raise InvalidRequest(
                f"Invalid value {key[:80]!r} for parameter 'key': expected 1 to {MAX_TAG_KEY_CHARS} characters"
            )
        if len(value) > MAX_TAG_CHARS:
            raise InvalidRequest(
                f"The value of tag {key!r} exceeds max length of {MAX_TAG_CHARS} characters: it has {len(value)}"
            )
    return dict(tags)


def plain(text: str) -> str:
    """Give a text back; raises InvalidRequest for one with a NUL character, which not every database keeps."""
    if "\0" in text:
        raise InvalidRequest(f"{text[:80]!r} has a NUL character, which no text may have")
    return text


def plain_texts(pairs: Iterable[KeyValue]) -> dict[str, str]:
    """Read texts by key; raises InvalidRequest as `plain` does."""
    return {plain(pair.key): plain(pair.value) for pair in pairs}


class Search(msgspec.Struct):
    """What is searched for, in which order, and which page of it."""

    filter: str = ""
    max_results: int | None = None
    order_by: list[str] = []
    page_token: str = ""

    def limit(self, default: int, most: int) -> int:
        """Give how many may be answered; raises InvalidRequest when that is none or too many."""
        limit = default if self.max_results is None else self.max_results
        if limit < 1:
            raise InvalidRequest(f"Invalid value for max_results. It must be a positive integer, but got {limit}")
        if limit > most:
            raise InvalidRequest(
                f"Invalid value for request parameter max_results. It must be at most {most}, but got value {limit}"
            )
        return limit

    def order(self) -> list[Order]:
        """Read the order; raises InvalidRequest."""
        return [parse_order(text, _TAGS) for text in self.order_by]

    def where(self) -> tuple[Filter, dict[str, str]]:
        """Read the filter, and which tags must not be there: prompts are found only by who asks for prompts."""
        where = parse_filter(self.filter, _TAGS)
        parts = where.parts if isinstance(where, AllOf) else [where]
        asked = [part for part in parts if isinstance(part, Comparison) and _is_about_prompts(part)]
        if any(_asks_for_prompts(part) for part in asked):
            return where, {}
        return AllOf([part for part in parts if part not in asked]), {IS_PROMPT: "true"}

    @property
    def offset(self) -> int:
        """Give where the page begins; raises InvalidRequest for a token that is none of ours."""
        return read_token(self.page_token)


def read_token(token: str) -> int:
    """Read the token of a page: where it begins."""
    if not token:
        return 0
    try:
        return msgspec.json.decode(base64.b64decode(token, validate=True), type=_Token).offset
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise InvalidRequest(f"Invalid page token {token!r}: hand back the token as it was given") from None


def next_token(offset: int, limit: int, found: int) -> str:
    """Give the token of the next page where more than *limit* were found; else none."""
    if found <= limit:
        return ""
    return base64.b64encode(msgspec.json.encode(_Token(offset + limit))).decode()


class _Token(msgspec.Struct):
    offset: int


def _is_about_prompts(comparison: Comparison) -> bool:
    return comparison.field.entity == "tag" and comparison.field.key == IS_PROMPT


def _asks_for_prompts(comparison: Comparison) -> bool:
    value = str(comparison.values[0]).lower() if comparison.values else ""
    return (comparison.operator, value) in (("=", "true"), ("!=", "false"))
