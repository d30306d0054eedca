"""MLflow's client keeps models, their tags, aliases and latest versions here as with its own server."""

from __future__ import annotations

import uuid
from pathlib import Path

import httpx2
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from mainspring.client.session import connect
from mainspring.registry.protection.model import PolicyContent

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated since 2.9.0:FutureWarning")


@pytest.fixture
def client(tracking_url: str) -> MlflowClient:
    return MlflowClient(tracking_url)


@pytest.fixture
def name() -> str:
    """The name of a model that only this test uses; MLflow allows blanks in it."""
    return f"Model {uuid.uuid4()}"


def refused(code: str, call: object, *args: object) -> str:
    with pytest.raises(MlflowException) as caught:
        call(*args)  # type: ignore[operator]
    assert caught.value.error_code == code
    return str(caught.value)


def test_a_model_is_created_once(client: MlflowClient, name: str) -> None:
    made = client.create_registered_model(name, {"team": "ads"}, "about it")
    assert (made.name, made.tags, made.description) == (name, {"team": "ads"}, "about it")
    assert made.creation_timestamp == made.last_updated_timestamp
    assert "already exists" in refused("RESOURCE_ALREADY_EXISTS", client.create_registered_model, name)
    found = client.get_registered_model(name)
    assert (found.name, found.latest_versions, found.aliases) == (name, [], {})


@pytest.mark.parametrize("wrong", ["", " ", "a/b", "a:b", "a@b", "..", "x" * 251])
def test_a_name_that_cannot_be_part_of_a_uri_is_refused(client: MlflowClient, tracking_url: str, wrong: str) -> None:
    answer = httpx2.post(f"{tracking_url}/api/2.0/mlflow/registered-models/create", json={"name": wrong})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_what_is_not_there_is_said_to_be_not_there(client: MlflowClient, name: str) -> None:
    for call, args in (
        (client.get_registered_model, (name,)),
        (client.rename_registered_model, (name, "other")),
        (client.update_registered_model, (name, "text")),
        (client.delete_registered_model, (name,)),
        (client.set_registered_model_tag, (name, "a", "b")),
        (client.delete_registered_model_tag, (name, "a")),
        (client.set_registered_model_alias, (name, "a", "1")),
        (client.get_latest_versions, (name,)),
        (client.get_model_version_by_alias, (name, "a")),
    ):
        refused("RESOURCE_DOES_NOT_EXIST", call, *args)


def test_a_description_and_tags_change(client: MlflowClient, name: str) -> None:
    client.create_registered_model(name, {"a": "1"})
    client.update_registered_model(name, "better")
    client.set_registered_model_tag(name, "a", "2")
    client.set_registered_model_tag(name, "b", "x" * 100_000)
    client.delete_registered_model_tag(name, "b")
    client.delete_registered_model_tag(name, "b")
    found = client.get_registered_model(name)
    assert (found.description, found.tags) == ("better", {"a": "2"})
    assert found.last_updated_timestamp > found.creation_timestamp
    refused("INVALID_PARAMETER_VALUE", client.set_registered_model_tag, name, "k", "x" * 100_001)


def test_a_text_that_not_every_database_keeps_is_refused(client: MlflowClient, name: str) -> None:
    refused("INVALID_PARAMETER_VALUE", client.create_registered_model, name, None, "a\0b")
    client.create_registered_model(name)
    refused("INVALID_PARAMETER_VALUE", client.update_registered_model, name, "a\0b")
    refused("INVALID_PARAMETER_VALUE", client.set_registered_model_tag, name, "a", "a\0b")
    refused("INVALID_PARAMETER_VALUE", client.create_model_version, name, "s3://bucket/a\0b")
    refused("INVALID_PARAMETER_VALUE", client.create_logged_model, "0", None, None, {"a": "a\0b"})
    refused("INVALID_PARAMETER_VALUE", client.search_registered_models, "name = 'a\0b'")


def test_a_renamed_model_keeps_its_versions_and_frees_its_name(client: MlflowClient, name: str) -> None:
    client.create_registered_model(name)
    client.create_model_version(name, "s3://bucket/model")
    client.create_registered_model(f"{name} taken")
    refused("RESOURCE_ALREADY_EXISTS", client.rename_registered_model, name, f"{name} taken")
    refused("INVALID_PARAMETER_VALUE", client.rename_registered_model, name, "a/b")
    client.rename_registered_model(name, f"{name} 2")
    refused("RESOURCE_DOES_NOT_EXIST", client.get_registered_model, name)
    assert [v.version for v in client.get_registered_model(f"{name} 2").latest_versions] == ["1"]
    assert client.create_registered_model(name).latest_versions == []


def test_a_deleted_model_is_gone_with_its_versions(client: MlflowClient, name: str) -> None:
    client.create_registered_model(name)
    client.create_model_version(name, "s3://bucket/model")
    client.delete_registered_model(name)
    refused("RESOURCE_DOES_NOT_EXIST", client.get_registered_model, name)
    refused("RESOURCE_DOES_NOT_EXIST", client.get_model_version, name, "1")
    assert client.search_model_versions(f"name = '{name}'") == []
    refused("RESOURCE_DOES_NOT_EXIST", client.delete_registered_model, name)


def test_an_alias_points_to_one_version(client: MlflowClient, name: str) -> None:
    client.create_registered_model(name)
    for _ in range(2):
        client.create_model_version(name, "s3://bucket/model")
    client.set_registered_model_alias(name, "champion", "1")
    client.set_registered_model_alias(name, "best_2024", "1")
    client.set_registered_model_alias(name, "champion", "2")
    assert client.get_registered_model(name).aliases == {"best_2024": "1", "champion": "2"}
    assert client.get_model_version_by_alias(name, "champion").version == "2"
    assert client.get_model_version(name, "1").aliases == ["best_2024"]
    assert client.get_model_version_by_alias(name, "latest").version == "2"
    for _ in range(2):
        client.delete_registered_model_alias(name, "champion")
    refused("INVALID_PARAMETER_VALUE", client.get_model_version_by_alias, name, "champion")
    refused("RESOURCE_DOES_NOT_EXIST", client.set_registered_model_alias, name, "a", "3")
    for wrong in ("latest", "v1", "1", "a b"):
        refused("INVALID_PARAMETER_VALUE", client.set_registered_model_alias, name, wrong, "1")


def test_the_latest_version_of_each_stage_is_given(client: MlflowClient, name: str) -> None:
    client.create_registered_model(name)
    for stage in ("Production", "Production", "Staging", "None"):
        version = client.create_model_version(name, "s3://bucket/model").version
        client.transition_model_version_stage(name, version, stage)
    latest = {v.current_stage: v.version for v in client.get_latest_versions(name)}
    assert latest == {"Production": "2", "Staging": "3", "None": "4"}
    assert [v.version for v in client.get_latest_versions(name, ["production", "Archived"])] == ["2"]
    refused("INVALID_PARAMETER_VALUE", client.get_latest_versions, name, ["Nowhere"])


def test_models_are_found_page_by_page(client: MlflowClient, name: str) -> None:
    for number in range(5):
        client.create_registered_model(f"{name} {number}", {"even": str(number % 2 == 0)})
    mine = f"name LIKE '{name} %'"
    found = client.search_registered_models(mine, max_results=2)
    names, token = [model.name for model in found], found.token
    while token:
        found = client.search_registered_models(mine, max_results=2, page_token=token)
        names, token = [*names, *(model.name for model in found)], found.token
    assert names == [f"{name} {number}" for number in range(5)]
    even = client.search_registered_models(f"{mine} AND tags.even = 'True'", order_by=["name DESC"])
    assert [model.name for model in even] == [f"{name} {number}" for number in (4, 2, 0)]
    upper = client.search_registered_models(f"name ILIKE '{name.upper()} %' and tags.even != 'True'")
    assert len(upper) == 2
    newest = client.search_registered_models(mine, order_by=["last_updated_timestamp DESC"], max_results=1)
    assert newest[0].name == f"{name} 4"


@pytest.mark.parametrize(
    "asked",
    [
        {"filter_string": "colour = 'x'"},
        {"filter_string": "name = x"},
        {"filter_string": "params.x = '1'"},
        {"max_results": 1001},
        {"order_by": ["colour"]},
        {"order_by": ["name", "name DESC"]},
        {"page_token": "nonsense"},
    ],
)
def test_a_search_that_cannot_be_is_refused(client: MlflowClient, asked: dict[str, object]) -> None:
    with pytest.raises(MlflowException) as caught:
        client.search_registered_models(**asked)
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"


def test_who_moved_an_alias_is_known_by_the_login(
    client: MlflowClient, tracking_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = client.create_registered_model(f"Model {uuid.uuid4()}").name
    client.create_model_version(name, "s3://bucket/model")
    client.create_model_version(name, "s3://bucket/model")
    client.set_registered_model_alias(name, "champion", "1")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    client.set_registered_model_alias(name, "champion", "2")
    with connect(tracking_url, tmp_path / "cache") as session:
        second, first = [change for change in session.histories.changes(name) if change.kind == "alias"]
        assert (first.actor, second.actor) == ("mlflow client", "ann")
        assert second.origin.startswith("mlflow 127.0.0.1")
        assert session.histories.state(name, first.at).aliases["champion"].version == 1
        assert session.histories.state(name).aliases["champion"].version == 2


def test_what_is_missing_is_said_in_the_words_that_clients_look_for(client: MlflowClient) -> None:
    with pytest.raises(MlflowException, match=r"RESOURCE_DOES_NOT_EXIST: Registered Model with name=nowhere not found"):
        client.get_registered_model("nowhere")
    name = f"m-{uuid.uuid4()}"
    client.create_registered_model(name)
    with pytest.raises(MlflowException, match=rf"Model Version \(name={name}, version=7\) not found"):
        client.get_model_version(name, "7")
    with pytest.raises(MlflowException, match=r"Parameter 'version' must be an integer, got 'x'\."):
        client.get_model_version(name, "x")


@pytest.mark.filterwarnings("ignore:.*deprecated since 2.9.0:FutureWarning")
def test_a_protected_champion_waits_for_somebody_else(
    client: MlflowClient, tracking_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = client.create_registered_model(f"model-{uuid.uuid4()}").name
    client.create_model_version(name, "s3://bucket/model")
    with connect(tracking_url, tmp_path / "cache") as session:
        session.promotions.protect(name, "champion", approvals=1)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    with pytest.raises(MlflowException) as refused:
        client.set_registered_model_alias(name, "champion", "1")
    assert refused.value.error_code == "PERMISSION_DENIED"
    assert f"0 of 1 by somebody other than ann (`mainspring model approve {name} 1`)" in refused.value.message
    with pytest.raises(MlflowException, match="is protected"):
        client.transition_model_version_stage(name, "1", "Production")
    with connect(tracking_url, tmp_path / "cache") as session:
        session.promotions.approve(name, 1, comment="it is good")
    with pytest.raises(MlflowException, match="mainspring model unprotect"):
        client.delete_registered_model_alias(name, "champion")
    with pytest.raises(MlflowException, match="mainspring model unprotect"):
        client.delete_model_version(name, "1")
    assert client.get_model_version_by_alias(name, "champion").version == "1"
    assert client.get_model_version(name, "1").current_stage == "Production"


def test_a_champion_with_gates_says_what_is_missing(client: MlflowClient, tracking_url: str, tmp_path: Path) -> None:
    name, policy = client.create_registered_model(f"model-{uuid.uuid4()}").name, f"signed-{uuid.uuid4().hex}"
    client.create_model_version(name, "s3://bucket/model")
    with connect(tracking_url, tmp_path / "cache") as session:
        session.promotions.define_policy(policy, PolicyContent(measured=None, card=True, owner=True))
        session.promotions.protect(name, "champion", gates=policy)
    with pytest.raises(MlflowException) as refused:
        client.set_registered_model_alias(name, "champion", "1")
    assert refused.value.error_code == "INVALID_STATE"
    assert "card: is missing" in refused.value.message
    assert "owner: is missing" in refused.value.message
    client.update_model_version(name, "1", "# What it is")
    client.set_model_version_tag(name, "1", "owner", "ann")
    client.set_registered_model_alias(name, "champion", "1")
