"""MLflow's client starts, changes, finds, deletes and restores runs here as with its own server."""

from __future__ import annotations

import uuid

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException


@pytest.fixture
def client(tracking_url: str) -> MlflowClient:
    return MlflowClient(tracking_url)


@pytest.fixture
def experiment(client: MlflowClient) -> str:
    """The id of an experiment that only this test uses."""
    return str(client.create_experiment(f"runs of {uuid.uuid4()}"))


def test_a_run_keeps_what_a_batch_logs(client: MlflowClient, experiment: str) -> None:
    run = client.create_run(experiment, run_name="first", start_time=1_700_000_000_123, tags={"team": "ads"})
    id = run.info.run_id
    client.log_batch(id, [Metric("auc", 0.5, 1, 0), Metric("auc", 0.7, 2, 1)], [Param("lr", "0.1")], [RunTag("k", "v")])
    client.set_terminated(id, "FINISHED", 1_700_000_000_456)
    found = client.get_run(id)
    assert found.data.metrics == {"auc": 0.7}
    assert found.data.params == {"lr": "0.1"}
    assert found.data.tags.items() >= {"k": "v", "team": "ads", "mlflow.runName": "first"}.items()
    info = found.info
    assert (info.run_name, info.status, info.start_time, info.end_time) == (
        "first",
        "FINISHED",
        1_700_000_000_123,
        1_700_000_000_456,
    )
    assert info.artifact_uri == f"mlflow-artifacts:/{experiment}/{id}/artifacts"
    assert [one.info.run_id for one in client.search_runs([experiment], "metrics.auc > 0.6")] == [id]
    assert client.search_runs([experiment], "metrics.auc > 0.8") == []
