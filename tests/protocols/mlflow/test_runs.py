"""MLflow's client starts, changes, finds, deletes and restores runs here as with its own server."""

from __future__ import annotations

import uuid
from pathlib import Path

import httpx2
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunStatus, RunTag, ViewType
from mlflow.exceptions import MlflowException

from mainspring.client.session import connect

API = "/api/2.0/mlflow"


@pytest.fixture
def client(tracking_url: str) -> MlflowClient:
    return MlflowClient(tracking_url)


@pytest.fixture
def experiment(client: MlflowClient) -> str:
    """The id of an experiment that only this test uses."""
    return str(client.create_experiment(f"runs of {uuid.uuid4()}"))


def names(client: MlflowClient, experiment: str, where: str = "", **more: object) -> list[str]:
    return [run.info.run_name for run in client.search_runs([experiment], where, **more)]  # type: ignore[arg-type]


def test_a_run_keeps_what_a_batch_logs(client: MlflowClient, experiment: str) -> None:
    run = client.create_run(experiment, run_name="first", start_time=1_700_000_000_123, tags={"team": "ads"})
    id = run.info.run_id
    client.log_batch(id, [Metric("auc", 0.5, 1, 0), Metric("auc", 0.7, 2, 1)], [Param("lr", "0.1")], [RunTag("k", "v")])
    client.set_terminated(id, "FINISHED", 1_700_000_000_456)
    found = client.get_run(id)
    assert found.data.metrics == {"auc": 0.7}
    assert found.data.params == {"lr": "0.1"}
    assert found.data.tags == {"k": "v", "team": "ads", "mlflow.runName": "first"}
    info = found.info
    times = (info.start_time, info.end_time)
    assert (info.run_name, info.status, times) == ("first", "FINISHED", (1_700_000_000_123, 1_700_000_000_456))
    assert (info.experiment_id, info.lifecycle_stage) == (experiment, "active")
    assert info.artifact_uri == f"mlflow-artifacts:/{experiment}/{id}/artifacts"


def test_a_run_without_a_name_is_given_one(client: MlflowClient, experiment: str) -> None:
    run = client.create_run(experiment)
    assert run.info.run_name
    assert run.data.tags["mlflow.runName"] == run.info.run_name
    assert (run.info.status, run.info.end_time) == ("RUNNING", None)


def test_a_run_in_no_experiment_goes_to_the_default_one(tracking_url: str) -> None:
    made = httpx2.post(f"{tracking_url}{API}/runs/create", json={}).json()["run"]["info"]
    assert made["experiment_id"] == "0"


def test_names_that_contradict_each_other_are_refused(client: MlflowClient, experiment: str) -> None:
    with pytest.raises(MlflowException, match="are specified, but differ: 'a' and 'b'"):
        client.create_run(experiment, run_name="a", tags={"mlflow.runName": "b"})
    assert client.create_run(experiment, tags={"mlflow.runName": "b"}).info.run_name == "b"


@pytest.mark.parametrize("status", ["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"])
def test_a_run_can_be_set_to_any_status_at_any_time(client: MlflowClient, experiment: str, status: str) -> None:
    id = client.create_run(experiment).info.run_id
    for number in ("FAILED", status, "FINISHED", status):
        client.update_run(id, status=number)
    found = client.get_run(id).info
    assert found.status == status
    assert RunStatus.from_string(status)


def test_a_name_and_its_tag_are_one(client: MlflowClient, experiment: str) -> None:
    id = client.create_run(experiment, run_name="a").info.run_id
    client.update_run(id, name="b")
    assert client.get_run(id).data.tags["mlflow.runName"] == "b"
    client.set_tag(id, "mlflow.runName", "c")
    assert client.get_run(id).info.run_name == "c"
    client.log_batch(id, tags=[RunTag("mlflow.runName", "d")])
    assert client.get_run(id).info.run_name == "d"
    assert names(client, experiment, "tags.mlflow.runName = 'd'") == ["d"]


def test_the_tag_of_the_parent_makes_a_part_of_a_run(client: MlflowClient, experiment: str) -> None:
    parent = client.create_run(experiment).info.run_id
    child = client.create_run(experiment, run_name="child", tags={"mlflow.parentRunId": parent}).info.run_id
    client.create_run(experiment, run_name="orphan", tags={"mlflow.parentRunId": "nobody"})
    found = client.get_parent_run(child)
    assert found is not None and found.info.run_id == parent
    assert names(client, experiment, f"tags.mlflow.parentRunId = '{parent}'") == ["child"]
    assert names(client, experiment, "tags.mlflow.parentRunId = 'nobody'") == ["orphan"]


def test_runs_of_our_own_api_are_found_with_their_names_parents_and_datasets(
    client: MlflowClient, tracking_url: str, tmp_path: Path
) -> None:
    name = f"ours-{uuid.uuid4()}"
    with connect(tracking_url, str(tmp_path)) as session:
        parent = session.tracking.create_run(name, "above")
        child = session.tracking.create_run(name, "below", parent=parent.id)
        session.tracking.log_input(child.id, "dataset:trips@12")
    id = client.get_experiment_by_name(name).experiment_id
    assert names(client, id, f"tags.mlflow.parentRunId = '{parent.id}'") == ["below"]
    assert names(client, id, "tags.`mlflow.runName` = 'above'") == ["above"]
    assert names(client, id, "tags.mlflow.parentRunId IS NULL") == ["above"]
    (read,) = client.get_run(child.id).inputs.dataset_inputs
    assert (read.dataset.name, read.dataset.digest, read.dataset.source_type) == ("trips", "v12", "mainspring")


def test_a_deleted_run_refuses_writes_until_it_is_restored(
    client: MlflowClient, experiment: str, tracking_url: str, tmp_path: Path
) -> None:
    id = client.create_run(experiment, run_name="gone").info.run_id
    client.delete_run(id)
    client.delete_run(id)
    assert client.get_run(id).info.lifecycle_stage == "deleted"
    for write in (
        lambda: client.log_metric(id, "m", 1),
        lambda: client.log_param(id, "p", 1),
        lambda: client.set_tag(id, "t", 1),
        lambda: client.delete_tag(id, "mlflow.runName"),
        lambda: client.log_batch(id, [Metric("m", 1, 1, 1)]),
        lambda: client.update_run(id, name="x"),
        lambda: client.set_terminated(id),
    ):
        with pytest.raises(MlflowException, match="must be in the 'active' state") as refused:
            write()
        assert refused.value.error_code == "INVALID_PARAMETER_VALUE"
    assert names(client, experiment) == []
    assert names(client, experiment, run_view_type=ViewType.DELETED_ONLY) == ["gone"]
    assert names(client, experiment, run_view_type=ViewType.ALL) == ["gone"]
    with connect(tracking_url, str(tmp_path)) as session:
        assert session.tracking.search_runs([client.get_experiment(experiment).name]).runs == []
    client.restore_run(id)
    client.log_metric(id, "m", 1)
    assert names(client, experiment) == ["gone"]


def test_pages_hold_every_run_once_in_order(client: MlflowClient, experiment: str) -> None:
    for number in range(7):
        run = client.create_run(experiment, run_name=str(number), start_time=1000 + number % 2)
        if number % 3:
            client.log_metric(run.info.run_id, "m", number if number != 4 else float("nan"))
    whole = names(client, experiment, order_by=["metrics.m DESC"])
    assert whole == ["5", "2", "1", "4", "3", "0", "6"]
    assert names(client, experiment, order_by=["metrics.m"]) == ["1", "2", "5", "4", "3", "0", "6"]
    seen: list[str] = []
    token = None
    while True:
        page = client.search_runs([experiment], order_by=["metrics.m DESC"], max_results=2, page_token=token)
        seen += [run.info.run_name for run in page]
        token = page.token
        if not token:
            break
    assert seen == whole


def test_ties_are_broken_by_the_newest_start_and_then_the_id(client: MlflowClient, experiment: str) -> None:
    old = client.create_run(experiment, start_time=1).info.run_id
    ids = sorted(client.create_run(experiment, start_time=2).info.run_id for _ in range(3))
    assert [run.info.run_id for run in client.search_runs([experiment])] == [*ids, old]


def test_a_search_of_no_experiment_finds_nothing(tracking_url: str) -> None:
    answer = httpx2.post(f"{tracking_url}{API}/runs/search", json={})
    assert (answer.status_code, answer.json()) == (200, {})


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "message"),
    [
        ("runs/search", {"max_results": 50_001}, 400, "INVALID_PARAMETER_VALUE", "max_results"),
        ("runs/search", {"page_token": "?"}, 400, "INVALID_PARAMETER_VALUE", "page"),
        ("runs/search", {"order_by": ["metrics.m", "metric.m DESC"]}, 400, "INVALID_PARAMETER_VALUE", "duplicate"),
        ("runs/search", {"order_by": ["metrics.m SIDEWAYS"]}, 400, "INVALID_PARAMETER_VALUE", "ASC, DESC"),
        ("runs/create", {"experiment_id": "nobody"}, 404, "RESOURCE_DOES_NOT_EXIST", "No Experiment with id=nobody"),
        ("runs/create", {"start_time": 2**62}, 400, "INVALID_PARAMETER_VALUE", "time"),
        ("runs/delete", {"run_id": "nobody"}, 404, "RESOURCE_DOES_NOT_EXIST", "Run with id=nobody not found"),
        ("runs/restore", {"run_id": "nobody"}, 404, "RESOURCE_DOES_NOT_EXIST", "Run with id=nobody not found"),
        ("runs/update", {"run_id": "nobody"}, 404, "RESOURCE_DOES_NOT_EXIST", "Run with id=nobody not found"),
        ("runs/update", {"run_id": "r", "status": "DONE"}, 400, "INVALID_PARAMETER_VALUE", "status"),
        ("runs/update", {}, 400, "INVALID_PARAMETER_VALUE", "Missing value for required parameter 'run_id'"),
    ],
)
def test_a_malformed_request_is_told_so(
    tracking_url: str, path: str, body: dict[str, object], status: int, code: str, message: str
) -> None:
    answer = httpx2.post(f"{tracking_url}{API}/{path}", json=body)
    assert (answer.status_code, answer.json()["error_code"]) == (status, code)
    assert message in answer.json()["message"]
