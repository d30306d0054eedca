"""Prompts of MLflow's client: versions of a text with tags and aliases, apart from the models."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException


@pytest.fixture
def client(tracking_url: str) -> Iterator[MlflowClient]:
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(tracking_url)
    yield MlflowClient(tracking_url)
    mlflow.set_tracking_uri(before)


@pytest.fixture
def name() -> str:
    return f"prompt-{uuid.uuid4()}"


def test_a_prompt_is_loaded_by_version_and_alias(client: MlflowClient, name: str) -> None:
    mlflow.genai.register_prompt(name, "Hello {{who}}", commit_message="first", tags={"a": "b"})
    mlflow.genai.register_prompt(name, [{"role": "user", "content": "Hi {{who}}"}])
    mlflow.genai.set_prompt_alias(name, "production", 1)
    assert mlflow.genai.load_prompt(f"prompts:/{name}@production").format(who="Bo") == "Hello Bo"
    latest = mlflow.genai.load_prompt(f"prompts:/{name}@latest")
    assert (latest.version, latest.format(who="Bo")) == (2, [{"role": "user", "content": "Hi Bo"}])
    first = mlflow.genai.load_prompt(name, version=1)
    assert (first.commit_message, first.tags, first.aliases) == ("first", {"a": "b"}, ["production"])
    mlflow.genai.delete_prompt_alias(name, "production")
    with pytest.raises(MlflowException):
        mlflow.genai.load_prompt(f"prompts:/{name}@production")


def test_prompts_and_models_are_found_apart(client: MlflowClient, name: str) -> None:
    mlflow.genai.register_prompt(name, "Hello", tags={"team": name})
    client.create_registered_model(f"{name}-model", {"team": name})
    assert [prompt.name for prompt in mlflow.genai.search_prompts(f"name LIKE '{name}%'")] == [name]
    assert [model.name for model in client.search_registered_models(f"name LIKE '{name}%'")] == [f"{name}-model"]
    for where in ("tags.`mlflow.prompt.is_prompt` = 'false'", "tags.`mlflow.prompt.is_prompt` != 'true'"):
        models = client.search_registered_models(f"name LIKE '{name}%' AND {where}")
        assert [model.name for model in models] == [f"{name}-model"]
    assert client.search_model_versions(f"name = '{name}'") == []


def test_tags_of_prompts_and_of_their_versions_change(client: MlflowClient, name: str) -> None:
    mlflow.genai.register_prompt(name, "Hello")
    mlflow.genai.set_prompt_tag(name, "team", "ads")
    assert mlflow.genai.get_prompt_tags(name)["team"] == "ads"
    mlflow.genai.delete_prompt_tag(name, "team")
    assert "team" not in mlflow.genai.get_prompt_tags(name)
    mlflow.genai.set_prompt_version_tag(name, 1, "reviewed", "yes")
    assert mlflow.genai.load_prompt(name, version=1).tags["reviewed"] == "yes"
    mlflow.genai.delete_prompt_version_tag(name, 1, "reviewed")
    assert "reviewed" not in mlflow.genai.load_prompt(name, version=1).tags


def test_a_name_is_a_prompt_s_or_a_model_s_but_not_both(client: MlflowClient, name: str) -> None:
    client.create_registered_model(name)
    with pytest.raises(MlflowException, match="exists with the same name"):
        mlflow.genai.register_prompt(name, "Hello")
    mlflow.genai.register_prompt(f"{name}-2", "Hello")
    with pytest.raises(MlflowException) as caught:
        client.create_registered_model(f"{name}-2")
    assert caught.value.error_code == "RESOURCE_ALREADY_EXISTS"


def test_a_prompt_is_deleted_with_its_versions(client: MlflowClient, name: str) -> None:
    client.create_prompt(name, tags={"a": "b"})
    client.create_prompt_version(name, "Hello")
    assert client.get_prompt_version(name, 1).template == "Hello"
    client.delete_prompt_version(name, "1")
    client.delete_prompt(name)
    assert client.get_prompt(name) is None
