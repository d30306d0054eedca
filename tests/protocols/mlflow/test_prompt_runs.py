"""What was tried out with a prompt on MLflow's page becomes a run with its settings, its result and a model."""

from __future__ import annotations

import json
import uuid
from typing import Any

import httpx2
import mlflow
import pytest
from mlflow import MlflowClient

PATH = "/ajax-api/2.0/mlflow/runs/create-promptlab-run"
TRIED: dict[str, Any] = {
    "prompt_template": "Say {{word}}",
    "prompt_parameters": [{"key": "word", "value": "hello"}],
    "model_route": "chat",
    "model_input": "Say hello",
    "mlflow_version": "3.18.0",
}


@pytest.fixture
def client(tracking_url: str) -> MlflowClient:
    return MlflowClient(tracking_url)


@pytest.fixture
def experiment(client: MlflowClient) -> str:
    return str(client.create_experiment(f"prompts {uuid.uuid4()}"))


def test_settings_result_and_model_are_kept(tracking_url: str, client: MlflowClient, experiment: str) -> None:
    more = {
        "experiment_id": experiment,
        "run_name": "tried",
        "user_id": "ada",
        "start_time": 456,
        "model_parameters": [{"key": "temperature", "value": "0.1"}],
        "model_output": "hello",
        "model_output_parameters": [{"key": "latency", "value": "100"}],
    }
    mlflow.set_tracking_uri(tracking_url)
    reply = httpx2.post(tracking_url + PATH, json=TRIED | more)
    assert reply.status_code == 200, reply.text
    run = client.get_run(reply.json()["run"]["info"]["run_id"])
    assert (run.info.run_name, run.info.user_id, run.info.status, run.info.start_time) == (
        "tried",
        "ada",
        "FINISHED",
        456,
    )
    assert run.data.params == {"temperature": "0.1", "model_route": "chat", "prompt_template": "Say {{word}}"}
    assert run.data.tags["mlflow.runSourceType"] == "PROMPT_ENGINEERING"
    assert run.data.tags["mlflow.loggedArtifacts"] == '[{"path": "eval_results_table.json", "type": "table"}]'
    table = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/eval_results_table.json")
    assert table["columns"] == ["word", "prompt", "output", "latency"]
    assert table["data"] == [["hello", "Say hello", "hello", "100"]]
    model = mlflow.models.Model.load(f"{run.info.artifact_uri}/model")
    assert model.flavors["python_function"]["loader_module"] == "mlflow.prompt.promptlab_model"
    assert model.signature.inputs.input_names() == ["word"]
    assert [known["run_id"] for known in json.loads(run.data.tags["mlflow.log-model.history"])] == [run.info.run_id]


@pytest.mark.parametrize("missing", ["experiment_id", *TRIED])
def test_what_is_missing_is_named_and_nothing_is_kept(
    tracking_url: str, client: MlflowClient, experiment: str, missing: str
) -> None:
    body = {name: value for name, value in (TRIED | {"experiment_id": experiment}).items() if name != missing}
    reply = httpx2.post(tracking_url + PATH, json=body)
    assert reply.status_code == 400
    assert reply.json()["message"] == f"CreatePromptlabRun request must specify {missing}."
    assert client.search_runs([experiment]) == []


def test_there_is_no_gateway_behind_the_page(tracking_url: str) -> None:
    path = f"{tracking_url}/ajax-api/2.0/mlflow/gateway-proxy"
    assert httpx2.get(path, params={"gateway_path": "api/2.0/endpoints/"}).json() == {"endpoints": []}
    assert httpx2.delete(path).status_code == 405
