"""MLflow's client names, finds, changes, deletes and restores experiments here as with its own server."""

from __future__ import annotations

import uuid

import httpx2
import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException

API = "/api/2.0/mlflow/experiments"


@pytest.fixture
def client(tracking_url: str) -> MlflowClient:
    return MlflowClient(tracking_url)


@pytest.fixture
def name() -> str:
    """A name that only this test uses, such as people give: with blanks, slashes and more than ASCII."""
    return f"/Users/ann@example.org/Prüfung {uuid.uuid4()}"


def test_the_default_experiment_is_there_from_the_start(client: MlflowClient) -> None:
    found = client.get_experiment("0")
    assert (found.name, found.experiment_id, found.lifecycle_stage) == ("Default", "0", "active")
    assert found.artifact_location == "mlflow-artifacts:/0"
    assert dict(client.get_experiment_by_name("Default")) == dict(found)
    with pytest.raises(MlflowException, match="already exists") as refused:
        client.create_experiment("Default")
    assert refused.value.error_code == "RESOURCE_ALREADY_EXISTS"


def test_an_experiment_is_found_by_its_id_and_by_any_name(client: MlflowClient, name: str) -> None:
    id = client.create_experiment(name, tags={"team": "ads"})
    found = client.get_experiment(id)
    assert (found.name, found.tags, found.artifact_location) == (name, {"team": "ads"}, f"mlflow-artifacts:/{id}")
    assert found.creation_time == found.last_update_time
    assert dict(client.get_experiment_by_name(name)) == dict(found)
    assert client.get_experiment_by_name(f"{name}?") is None


def test_artifacts_may_be_kept_elsewhere(client: MlflowClient, name: str) -> None:
    id = client.create_experiment(name, artifact_location="s3://bucket/folder")
    assert client.get_experiment(id).artifact_location == "s3://bucket/folder"
    run = client.create_run(id)
    assert run.info.artifact_uri == f"s3://bucket/folder/{run.info.run_id}/artifacts"


@pytest.mark.parametrize("location", ["s3://bucket/a?x=1", "s3://bucket/../up", "s3://b/" + "x" * 3000])
def test_a_location_that_hides_something_is_refused(client: MlflowClient, name: str, location: str) -> None:
    with pytest.raises(MlflowException) as refused:
        client.create_experiment(name, artifact_location=location)
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE"


def test_a_name_is_given_once_also_while_its_experiment_is_deleted(client: MlflowClient, name: str) -> None:
    id = client.create_experiment(name)
    client.delete_experiment(id)
    with pytest.raises(MlflowException, match="deleted state") as refused:
        client.create_experiment(name)
    assert refused.value.error_code == "RESOURCE_ALREADY_EXISTS"
    other = client.create_experiment(f"{name} 2")
    with pytest.raises(MlflowException) as refused:
        client.rename_experiment(other, name)
    assert refused.value.error_code == "RESOURCE_ALREADY_EXISTS"


def test_deletion_takes_the_runs_along_and_restoring_brings_those_back(client: MlflowClient, name: str) -> None:
    id = client.create_experiment(name)
    kept, gone = client.create_run(id).info.run_id, client.create_run(id).info.run_id
    client.delete_run(gone)
    client.delete_experiment(id)
    assert client.get_experiment(id).lifecycle_stage == "deleted"
    assert client.get_run(kept).info.lifecycle_stage == "deleted"
    with pytest.raises(MlflowException, match="must be in the 'active' state"):
        client.create_run(id)
    with pytest.raises(MlflowException, match="must be in the 'active' state"):
        client.log_metric(kept, "m", 1)
    with pytest.raises(MlflowException, match="must be in the 'active' state"):
        client.rename_experiment(id, f"{name}!")
    with pytest.raises(MlflowException, match="must be in the 'active' state"):
        client.set_experiment_tag(id, "k", "v")
    with pytest.raises(MlflowException) as refused:
        client.delete_experiment(id)
    assert refused.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    client.restore_experiment(id)
    assert client.get_experiment(id).lifecycle_stage == "active"
    assert client.get_run(kept).info.lifecycle_stage == "active"
    assert client.get_run(gone).info.lifecycle_stage == "deleted"
    with pytest.raises(MlflowException) as refused:
        client.restore_experiment(id)
    assert refused.value.error_code == "RESOURCE_DOES_NOT_EXIST"


def test_a_change_is_seen_in_name_tags_and_time(client: MlflowClient, name: str) -> None:
    id = client.create_experiment(name)
    client.rename_experiment(id, f"{name} renamed")
    client.set_experiment_tag(id, "a", "x" * 20_000)
    client.set_experiment_tag(id, "b", "2")
    client.delete_experiment_tag(id, "b")
    found = client.get_experiment(id)
    assert (found.name, found.tags) == (f"{name} renamed", {"a": "x" * 20_000})
    assert found.last_update_time >= found.creation_time
    with pytest.raises(MlflowException) as refused:
        client.delete_experiment_tag(id, "b")
    assert refused.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    with pytest.raises(MlflowException) as refused:
        client.set_experiment_tag(id, "a", "x" * 20_001)
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE"


def test_experiments_are_searched_by_name_tags_and_times(client: MlflowClient) -> None:
    mark = uuid.uuid4().hex
    ids = {key: client.create_experiment(f"{mark} {key}", tags={"mark": mark, "key": key}) for key in "ABC"}

    def found(where: str, **more: object) -> str:
        where = f"tags.mark = '{mark}'" + (f" AND {where}" if where else "")
        return "".join(one.name[-1] for one in client.search_experiments(filter_string=where, **more))  # type: ignore[arg-type]

    assert found("") == "CBA"
    assert found("", order_by=["name ASC"]) == "ABC"
    assert found("", order_by=["last_update_time DESC", "name"]) == "CBA"
    assert found("name LIKE '% B'") == "B"
    assert found("name LIKE '% b'") == ""
    assert found("attribute.name ILIKE '% b'") == "B"
    assert found("tag.key != 'A'") == "CB"
    assert found("tags.nothing IS NULL") == "CBA"
    assert found(f"experiment_id IN ('{ids['A']}', '{ids['C']}')") == "CA"
    assert found(f"(name LIKE '% A' OR tags.key IN ('C')) AND NOT experiment_id = '{ids['C']}'") == "A"
    created = client.get_experiment(ids["B"]).creation_time
    assert "B" in found(f"creation_time = {created}")
    assert found(f"creation_time >= {created}").endswith("B")
    assert "B" not in found(f"creation_time > {created}")
    client.delete_experiment(ids["B"])
    assert found("") == "CA"
    assert found("", view_type=ViewType.DELETED_ONLY) == "B"
    assert found("", view_type=ViewType.ALL) == "CBA"


def test_pages_hold_every_experiment_once(client: MlflowClient) -> None:
    mark = uuid.uuid4().hex
    made = [client.create_experiment(f"{mark} {number}") for number in range(7)]
    seen, token = [], None
    while True:
        page = client.search_experiments(filter_string=f"name LIKE '{mark}%'", max_results=3, page_token=token)
        seen += [one.experiment_id for one in page]
        token = page.token
        if token is None:
            break
        assert len(page) == 3
    assert seen == made[::-1]


@pytest.mark.parametrize(
    "where",
    ["name = 3", "creation_time = 'x'", "nothing = 'x'", "metrics.m > 1", "name > 'a'", "name", "tags.a = b"],
)
def test_a_filter_that_says_nothing_is_refused(client: MlflowClient, where: str) -> None:
    with pytest.raises(MlflowException) as refused:
        client.search_experiments(filter_string=where)
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "message"),
    [
        ("create", {}, 400, "INVALID_PARAMETER_VALUE", "Missing value for required parameter 'name'"),
        ("create", {"name": ""}, 400, "INVALID_PARAMETER_VALUE", "Invalid experiment name"),
        ("create", {"name": "x" * 501}, 400, "INVALID_PARAMETER_VALUE", "Invalid experiment name"),
        ("create", {"name": 7}, 400, "INVALID_PARAMETER_VALUE", "Invalid value"),
        ("delete", {"experiment_id": "nobody"}, 404, "RESOURCE_DOES_NOT_EXIST", "No Experiment with id=nobody exists"),
        ("search", {"max_results": 0}, 400, "INVALID_PARAMETER_VALUE", "max_results"),
        ("search", {"max_results": 50_001}, 400, "INVALID_PARAMETER_VALUE", "max_results"),
        ("search", {"max_results": 1, "page_token": "?"}, 400, "INVALID_PARAMETER_VALUE", "page"),
        ("search", {"max_results": 1, "view_type": "SOME"}, 400, "INVALID_PARAMETER_VALUE", "view type"),
    ],
)
def test_a_malformed_request_is_told_so(
    tracking_url: str, path: str, body: dict[str, object], status: int, code: str, message: str
) -> None:
    answer = httpx2.post(f"{tracking_url}{API}/{path}", json=body)
    assert (answer.status_code, answer.json()["error_code"]) == (status, code)
    assert message in answer.json()["message"]
