"""MLflow's names and words for what happens in the registry: what the receivers of its webhooks expect."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from mainspring.core.events import Recorded
from mainspring.core.refs import Ref
from mainspring.registry.model import PROMPT_TAG, is_prompt
from mainspring.webhooks.vocabulary import signature

_TEMPLATE_TAG = "mlflow.prompt.text"
_OF_CLIENTS = {PROMPT_TAG, "_mlflow_prompt_type"}
"""Tags by which clients keep what a prompt is; receivers are not told of them."""

Data = dict[str, Any]


class Told(msgspec.Struct, frozen=True):
    """The body of a request: what happened to what, when, and the facts."""

    entity: str
    action: str
    timestamp: str
    data: Data


class _Meaning(msgspec.Struct, frozen=True):
    """When an event of the journal means a name of MLflow's: ``told`` gives the facts, None when it does not."""

    kinds: tuple[str, ...]
    told: Callable[[Mapping[str, Any]], Data | None]
    example: Data


class MlflowVocabulary:
    """The events of MLflow's registry and prompts. It has one of budgets too, which nothing here means."""

    def names(self) -> Collection[str]:
        """List MLflow's names."""
        return _MEANINGS.keys()

    def kinds(self, name: str) -> Collection[str]:
        """List the kinds of the journal that may mean *name*."""
        return _MEANINGS[name].kinds

    def tell(self, event: Recorded, name: str) -> Told | None:
        """Give the body that tells of *event* as *name*; None when it does not mean that."""
        data = _MEANINGS[name].told(event.body)
        return None if data is None else _told(name, event.at, data)

    def example(self, name: str) -> Told:
        """Give the body that MLflow itself tries webhooks out with."""
        return _told(name, datetime.now(UTC).isoformat(), _MEANINGS[name].example)

    def headers(self, delivery: str, at_s: int, body: bytes, secret: str | None) -> dict[str, str]:
        """Give MLflow's headers of a delivery."""
        found = {"X-MLflow-Delivery-Id": delivery, "X-MLflow-Timestamp": str(at_s)}
        if secret is not None:
            found["X-MLflow-Signature"] = signature(secret.encode(), delivery, at_s, body)
        return found


def _told(name: str, at: str, data: Data) -> Told:
    entity, _, action = name.partition(".")
    return Told(entity, action, at, data)


def _of_models(told: Callable[[Mapping[str, Any]], Data | None]) -> Callable[[Mapping[str, Any]], Data | None]:
    return lambda body: None if _is_prompt(body) else told(body)


def _of_prompts(told: Callable[[Mapping[str, Any]], Data | None]) -> Callable[[Mapping[str, Any]], Data | None]:
    return lambda body: told(body) if _is_prompt(body) else None


def _is_prompt(body: Mapping[str, Any]) -> bool:
    return bool(body.get("prompt")) or is_prompt(body.get("tags", {}))


def _created(body: Mapping[str, Any]) -> Data:
    tags = body["tags"]
    told = {key: value for key, value in tags.items() if key not in _OF_CLIENTS} if is_prompt(tags) else tags
    return {"name": _name(body["model"]), "tags": told, "description": body["description"]}


def _version_created(body: Mapping[str, Any]) -> Data:
    return {
        **_version(body["model"]),
        "source": body.get("source") or body["digest"],
        "run_id": None if body["run"] is None else _name(body["run"]),
        "tags": body.get("tags", {}),
        "description": body.get("card") or None,
    }


def _prompt_version_created(body: Mapping[str, Any]) -> Data:
    tags = {key: value for key, value in body["tags"].items() if key not in _OF_CLIENTS}
    return {
        **_version(body["model"]),
        "template": tags.pop(_TEMPLATE_TAG, None),
        "tags": tags,
        "description": body.get("card") or None,
    }


def _tag(body: Mapping[str, Any]) -> Data | None:
    if Ref.parse(body["model"]).version is not None:
        return None
    return {"name": _name(body["model"]), **_key_and_value(body)}


def _version_tag(body: Mapping[str, Any]) -> Data | None:
    if Ref.parse(body["model"]).version is None:
        return None
    return {**_version(body["model"]), **_key_and_value(body)}


def _alias_set(body: Mapping[str, Any]) -> Data | None:
    if body["model"] is None:
        return None
    return {**_version(body["model"]), "alias": Ref.parse(body["alias"]).alias}


def _alias_removed(body: Mapping[str, Any]) -> Data | None:
    if body["model"] is not None:
        return None
    alias = Ref.parse(body["alias"])
    return {"name": alias.name, "alias": alias.alias}


def _name(ref: str) -> str:
    return Ref.parse(ref).name


def _version(ref: str) -> Data:
    parsed = Ref.parse(ref)
    return {"name": parsed.name, "version": str(parsed.version)}


def _key_and_value(body: Mapping[str, Any]) -> Data:
    return {key: body[key] for key in ("key", "value") if key in body}


_MODEL, _PROMPT = {"name": "example_model"}, {"name": "example_prompt"}
_ONE: Data = {"version": "1"}
_KEY: Data = {"key": "example_key"}
_VALUE: Data = {"value": "example_value"}
_ALIAS: Data = {"alias": "example_alias"}
_TAGS: Data = {"tags": {"example_key": "example_value"}}
_RUN: Data = {"source": "models:/123", "run_id": "abcd1234abcd5678"}
_ALIASED = ("AliasMoved", "ModelPromoted")


def _about(text: str) -> Data:
    return {"description": text}


_MEANINGS = {
    "registered_model.created": _Meaning(
        ("ModelCreated",), _of_models(_created), {**_MODEL, **_TAGS, **_about("An example registered model")}
    ),
    "model_version.created": _Meaning(
        ("ModelRegistered",),
        _of_models(_version_created),
        {**_MODEL, **_ONE, **_RUN, **_TAGS, **_about("An example model version")},
    ),
    "model_version_tag.set": _Meaning(("ModelTagSet",), _of_models(_version_tag), {**_MODEL, **_ONE, **_KEY, **_VALUE}),
    "model_version_tag.deleted": _Meaning(("ModelTagDeleted",), _of_models(_version_tag), {**_MODEL, **_ONE, **_KEY}),
    "model_version_alias.created": _Meaning(_ALIASED, _of_models(_alias_set), {**_MODEL, **_ALIAS, **_ONE}),
    "model_version_alias.deleted": _Meaning(("AliasMoved",), _of_models(_alias_removed), {**_MODEL, **_ALIAS}),
    "prompt.created": _Meaning(
        ("ModelCreated",), _of_prompts(_created), {**_PROMPT, **_TAGS, **_about("An example prompt")}
    ),
    "prompt_version.created": _Meaning(
        ("ModelRegistered",),
        _of_prompts(_prompt_version_created),
        {**_PROMPT, **_ONE, "template": "Hello {{name}}!", **_TAGS, **_about("An example prompt version")},
    ),
    "prompt_tag.set": _Meaning(("ModelTagSet",), _of_prompts(_tag), {**_PROMPT, **_KEY, **_VALUE}),
    "prompt_tag.deleted": _Meaning(("ModelTagDeleted",), _of_prompts(_tag), {**_PROMPT, **_KEY}),
    "prompt_version_tag.set": _Meaning(
        ("ModelTagSet",), _of_prompts(_version_tag), {**_PROMPT, **_ONE, **_KEY, **_VALUE}
    ),
    "prompt_version_tag.deleted": _Meaning(
        ("ModelTagDeleted",), _of_prompts(_version_tag), {**_PROMPT, **_ONE, **_KEY}
    ),
    "prompt_alias.created": _Meaning(_ALIASED, _of_prompts(_alias_set), {**_PROMPT, **_ALIAS, **_ONE}),
    "prompt_alias.deleted": _Meaning(("AliasMoved",), _of_prompts(_alias_removed), {**_PROMPT, **_ALIAS}),
}
