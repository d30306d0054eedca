"""MLflow's client logs models here before they have a name in the registry."""

from __future__ import annotations

import uuid

import httpx2
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException


@pytest.fixture
def client(tracking_url: str) -> MlflowClient:
    return MlflowClient(tracking_url)


@pytest.fixture
def experiment(client: MlflowClient) -> str:
    """The id of an experiment that only this test uses."""
    return str(client.create_experiment(f"models of {uuid.uuid4()}"))


def refused(code: str, call: object, *args: object, **options: object) -> None:
    with pytest.raises(MlflowException) as caught:
        call(*args, **options)  # type: ignore[operator]
    assert caught.value.error_code == code


def test_a_model_is_logged_and_said_to_be_ready(client: MlflowClient, experiment: str) -> None:
    run = client.create_run(experiment).info.run_id
    made = client.create_logged_model(experiment, "agent", run, {"t": "1"}, {"p": "2"}, "agent")
    assert made.artifact_location == f"mlflow-artifacts:/{experiment}/models/{made.model_id}/artifacts"
    assert (made.status, made.source_run_id, made.model_type) == ("PENDING", run, "agent")
    assert client.finalize_logged_model(made.model_id, "READY").status == "READY"
    found = client.get_logged_model(made.model_id)
    assert (found.name, found.params, found.tags, found.status) == ("agent", {"p": "2"}, {"t": "1"}, "READY")
    client.set_logged_model_tags(made.model_id, {"t": "3", "a/b": "c"})
    client.delete_logged_model_tag(made.model_id, "a/b")
    assert client.get_logged_model(made.model_id).tags == {"t": "3"}
    refused("RESOURCE_DOES_NOT_EXIST", client.delete_logged_model_tag, made.model_id, "a/b")


def test_many_params_come_in_several_calls(client: MlflowClient, experiment: str) -> None:
    params = {f"p{number}": str(number) for number in range(250)}
    assert client.create_logged_model(experiment, params=params).params == params


def test_what_cannot_be_logged_is_refused(client: MlflowClient, experiment: str, tracking_url: str) -> None:
    refused("RESOURCE_DOES_NOT_EXIST", client.create_logged_model, "999999999999")
    refused("INVALID_PARAMETER_VALUE", client.create_logged_model, experiment, "a/b")
    refused("RESOURCE_DOES_NOT_EXIST", client.get_logged_model, "m-nothing")
    id = client.create_logged_model(experiment).model_id
    answer = httpx2.patch(f"{tracking_url}/api/2.0/mlflow/logged-models/{id}", json={"status": "GOOD"})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    client.delete_experiment(experiment)
    refused("INVALID_PARAMETER_VALUE", client.create_logged_model, experiment)


def test_a_deleted_model_is_gone(client: MlflowClient, experiment: str) -> None:
    id = client.create_logged_model(experiment, "m").model_id
    client.delete_logged_model(id)
    refused("RESOURCE_DOES_NOT_EXIST", client.get_logged_model, id)
    assert client.search_logged_models([experiment]) == []


def test_models_are_found_by_what_runs_measured_of_them(client: MlflowClient, experiment: str) -> None:
    run = client.create_run(experiment).info.run_id
    ids = [client.create_logged_model(experiment, name, params={"p": name}).model_id for name in "abc"]
    for id, value in zip(ids, (0.5, 0.9, float("nan")), strict=True):
        client.log_metric(run, "auc", value, model_id=id, dataset_name=f"d{value}", dataset_digest="1")
    (metric,) = client.get_logged_model(ids[0]).metrics
    assert (metric.key, metric.value, metric.dataset_name, metric.run_id, metric.model_id) == (
        "auc",
        0.5,
        "d0.5",
        run,
        ids[0],
    )

    def found(where: str | None = None, **options: object) -> list[str]:
        return [model.name for model in client.search_logged_models([experiment], where, **options)]

    assert found() == ["c", "b", "a"]
    assert found("metrics.auc > 0.4", order_by=[{"field_name": "metrics.auc", "ascending": False}]) == ["b", "a"]
    assert found("params.p = 'a' AND name IN ('a', 'b')") == ["a"]
    assert found(datasets=[{"dataset_name": "d0.9", "dataset_digest": "1"}]) == ["b"]
    for wrong in ("colour = 'x'", "metrics.auc LIKE 'x'"):
        refused("INVALID_PARAMETER_VALUE", client.search_logged_models, [experiment], wrong)


def test_a_page_belongs_to_its_search(client: MlflowClient, experiment: str) -> None:
    for name in "abc":
        client.create_logged_model(experiment, name)
    first = client.search_logged_models([experiment], max_results=2)
    assert [model.name for model in first] == ["c", "b"]
    rest = client.search_logged_models([experiment], max_results=2, page_token=first.token)
    assert ([model.name for model in rest], rest.token) == (["a"], None)
    refused("INVALID_PARAMETER_VALUE", client.search_logged_models, [experiment], "name = 'a'", page_token=first.token)
    refused("INVALID_PARAMETER_VALUE", client.search_logged_models, [experiment], page_token="nonsense")


def test_a_search_names_its_experiments(tracking_url: str) -> None:
    reply = httpx2.post(f"{tracking_url}/api/2.0/mlflow/logged-models/search", json={})
    assert reply.status_code == 400
    assert reply.json()["message"] == "Missing value for required parameter 'experiment_ids'."
