"""What is created, registered, tagged and pointed to in the registry is written down as an event, by whomever."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from mainspring.registry.catalogue.service import Catalogue
from mainspring.registry.service import Registry
from mainspring.storage.sql.journal import read_events

PROMPT = {"mlflow.prompt.is_prompt": "true"}


def told(registry: Registry) -> list[tuple[str, Mapping[str, Any]]]:
    with registry.database.read() as connection:
        return [(event.kind, event.body) for event in read_events(connection)]


def test_a_model_is_created_once_however_it_comes_into_being(registry: Registry, digest: str) -> None:
    registry.create_model("churn", "who leaves", {"team": "ads"})
    registry.register("churn", digest)
    registry.register("other", digest)
    created = [body for kind, body in told(registry) if kind == "ModelCreated"]
    assert created == [
        {"model": "model:churn", "description": "who leaves", "tags": {"team": "ads"}},
        {"model": "model:other", "description": "", "tags": {}},
    ]


def test_a_registered_version_is_told_with_its_card_and_tags(registry: Registry, digest: str) -> None:
    registry.register("churn", digest, card="# Churn", tags={"team": "ads"})
    [body] = [body for kind, body in told(registry) if kind == "ModelRegistered"]
    assert (body["model"], body["card"], body["tags"]) == ("model:churn@1", "# Churn", {"team": "ads"})


def test_tags_are_told_when_they_are_set_and_when_they_go_but_not_when_there_was_none(
    registry: Registry, digest: str
) -> None:
    catalogue = Catalogue(registry)
    registry.register("churn", digest)
    registry.update_model("churn", tags={"a": "1", "b": "2"})
    registry.tag_version("churn", 1, {"c": "3"})
    for key in ("a", "unknown"):
        catalogue.delete_model_tag("churn", key)
        catalogue.delete_version_tag("churn", 1, key)
    catalogue.delete_version_tag("churn", 1, "c")
    tagged = [
        (kind, body["model"], body["key"], body.get("value")) for kind, body in told(registry) if "ModelTag" in kind
    ]
    assert tagged == [
        ("ModelTagSet", "model:churn", "a", "1"),
        ("ModelTagSet", "model:churn", "b", "2"),
        ("ModelTagSet", "model:churn@1", "c", "3"),
        ("ModelTagDeleted", "model:churn", "a", None),
        ("ModelTagDeleted", "model:churn@1", "c", None),
    ]


@pytest.mark.parametrize(("tags", "prompt"), [(PROMPT, True), ({}, False), ({"mlflow.prompt.is_prompt": "no"}, False)])
def test_what_happens_to_a_prompt_is_told_as_a_prompt_s(registry: Registry, tags: dict[str, str], prompt: bool) -> None:
    catalogue = Catalogue(registry)
    registry.create_model("reply", tags=tags)
    catalogue.record("reply", "prompt-template")
    registry.update_model("reply", tags={"a": "1"})
    registry.tag_version("reply", 1, {"b": "1"})
    catalogue.delete_version_tag("reply", 1, "b")
    registry.set_alias("reply", "live", 1)
    registry.delete_alias("reply", "live")
    said = [(kind, body["prompt"]) for kind, body in told(registry) if "prompt" in body]
    kinds = ["ModelTagSet", "ModelTagSet", "ModelTagDeleted", "AliasMoved", "AliasMoved"]
    assert said == [(kind, prompt) for kind in kinds]
