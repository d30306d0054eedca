"""Datasets and models that a run read and made are kept whole."""

from __future__ import annotations

import json
import uuid

import httpx2
import pytest
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelInput, LoggedModelOutput
from mlflow.exceptions import MlflowException

API = "/api/2.0/mlflow"
TRIPS = Dataset("trips", "d1", "local", '{"uri": "trips.csv"}', '{"a": "long"}', '{"rows": 3}')


@pytest.fixture
def client(tracking_url: str) -> MlflowClient:
    return MlflowClient(tracking_url)


@pytest.fixture
def experiment(client: MlflowClient) -> str:
    return str(client.create_experiment(f"inputs {uuid.uuid4()}"))


@pytest.fixture
def run(client: MlflowClient, experiment: str) -> str:
    return str(client.create_run(experiment).info.run_id)


def test_a_dataset_is_kept_whole_with_the_tags_of_its_reading(client: MlflowClient, run: str) -> None:
    tags = [InputTag("mlflow.data.context", "training"), InputTag("why", "because")]
    client.log_inputs(run, [DatasetInput(TRIPS, tags)])
    (found,) = client.get_run(run).inputs.dataset_inputs
    assert dict(found.dataset) == dict(TRIPS)
    assert {tag.key: tag.value for tag in found.tags} == {"mlflow.data.context": "training", "why": "because"}


def test_a_dataset_that_is_read_again_stays_one_input(client: MlflowClient, run: str) -> None:
    first = DatasetInput(TRIPS, [InputTag("mlflow.data.context", "training")])
    other = DatasetInput(TRIPS, [InputTag("mlflow.data.context", "test")])
    client.log_inputs(run, [first, other])
    client.log_inputs(run, [other])
    (found,) = client.get_run(run).inputs.dataset_inputs
    assert [tag.value for tag in found.tags] == ["training"]


def test_datasets_of_experiments_are_listed_once_for_each_use(
    client: MlflowClient, experiment: str, tracking_url: str
) -> None:
    for context in ("training", "training", "test", None):
        id = client.create_run(experiment).info.run_id
        client.log_inputs(id, [DatasetInput(TRIPS, [InputTag("mlflow.data.context", context)] if context else [])])
    path = f"{tracking_url}/ajax-api/2.0/mlflow/experiments/search-datasets"
    found = httpx2.post(path, json={"experiment_ids": [experiment]}).json()["dataset_summaries"]
    assert {(one["name"], one["digest"], one.get("context")) for one in found} == {
        ("trips", "d1", "training"),
        ("trips", "d1", "test"),
        ("trips", "d1", None),
    }
    assert len(found) == 3
    assert httpx2.post(path, json={"experiment_ids": []}).status_code == 400
    assert httpx2.post(path, json={"experiment_ids": ["1"] * 21}).status_code == 400


def test_models_that_were_read_and_made_are_kept(client: MlflowClient, run: str) -> None:
    client.log_inputs(run, models=[LoggedModelInput("m-1")])
    client.log_outputs(run, [LoggedModelOutput("m-2", 5), LoggedModelOutput("m-2", 5), LoggedModelOutput("m-3", 1)])
    found = client.get_run(run)
    assert [model.model_id for model in found.inputs.model_inputs] == ["m-1"]
    assert [(model.model_id, model.step) for model in found.outputs.model_outputs] == [("m-3", 1), ("m-2", 5)]


def test_old_clients_keep_their_models_in_a_tag(client: MlflowClient, run: str, tracking_url: str) -> None:
    model = {
        "artifact_path": "model",
        "flavors": {"python_function": {"env": "x" * 5_000}},
        "utc_time_created": "now",
        "run_id": run,
    }
    path = f"{tracking_url}{API}/runs/log-model"
    for name in ("a", "b"):
        body = {"run_id": run, "model_json": json.dumps(model | {"artifact_path": name})}
        assert httpx2.post(path, json=body).json() == {}
    kept = json.loads(client.get_run(run).data.tags["mlflow.log-model.history"])
    assert [one["artifact_path"] for one in kept] == ["a", "b"]
    for wrong in ("{", "{}", "[]"):
        assert httpx2.post(path, json={"run_id": run, "model_json": wrong}).status_code == 400


@pytest.mark.parametrize(
    "dataset",
    [
        Dataset("x" * 501, "d", "local", "{}"),
        Dataset("", "d", "local", "{}"),
        Dataset("x", "d" * 37, "local", "{}"),
        Dataset("x", "d", "local", "s" * 65_536),
        Dataset("x", "d", "local", "{}", "s" * 1_048_576),
    ],
)
def test_a_description_that_is_too_long_is_refused(client: MlflowClient, run: str, dataset: Dataset) -> None:
    with pytest.raises(MlflowException) as refused:
        client.log_inputs(run, [DatasetInput(dataset, [])])
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE"
    assert client.get_run(run).inputs.dataset_inputs == []


def test_a_deleted_run_reads_and_makes_nothing(client: MlflowClient, run: str) -> None:
    client.delete_run(run)
    with pytest.raises(MlflowException, match="must be in the 'active' state"):
        client.log_inputs(run, [DatasetInput(TRIPS, [])])
    with pytest.raises(MlflowException, match="must be in the 'active' state"):
        client.log_outputs(run, [LoggedModelOutput("m-2", 5)])
