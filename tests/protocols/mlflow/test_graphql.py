"""The pages of MLflow ask for runs, experiments, histories, files and versions in one request of GraphQL."""

from __future__ import annotations

import math
import uuid
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag


@pytest.fixture
def client(tracking_url: str) -> MlflowClient:
    return MlflowClient(tracking_url)


@pytest.fixture
def experiment(client: MlflowClient) -> str:
    return str(client.create_experiment(f"pages {uuid.uuid4()}"))


def asked(url: str, query: str, name: str | None = None, **variables: Any) -> dict[str, Any]:
    body = {"query": query, "operationName": name, "variables": variables}
    reply = httpx2.post(f"{url}/graphql", json=body)
    assert reply.status_code == 200, reply.text
    answer = reply.json()
    assert set(answer) == {"data", "errors"}
    return dict(answer)


def data(url: str, query: str, name: str | None = None, **variables: Any) -> Any:
    answer = asked(url, query, name, **variables)
    assert answer["errors"] is None
    return answer["data"]


def test_a_run_leads_to_its_experiment_and_versions(tracking_url: str, client: MlflowClient, experiment: str) -> None:
    run, model = client.create_run(experiment, run_name="r").info.run_id, f"m-{uuid.uuid4()}"
    client.create_registered_model(model)
    client.create_model_version(model, f"runs:/{run}/model", run)
    query = """query Run($id: String!) @component(name: "RunPage") {
        mlflowGetRun(input: {runId: $id}) {
            apiError { message }
            run { info { runName status endTime ...Times } experiment { name } modelVersions { name version } }
        }
    }
    fragment Times on MlflowRunInfo { started: startTime }"""
    found = data(tracking_url, query, "Run", id=run)["mlflowGetRun"]
    started = found["run"]["info"].pop("started")
    assert isinstance(started, str) and int(started) > 1_600_000_000_000, "64 bits travel as texts"
    assert found == {
        "apiError": None,
        "run": {
            "info": {"runName": "r", "status": "RUNNING", "endTime": "0"},
            "experiment": {"name": client.get_experiment(experiment).name},
            "modelVersions": [{"name": model, "version": "1"}],
        },
    }
    versions = """query Q($filter: String) {
        mlflowSearchModelVersions(input: {filter: $filter}) {
            modelVersions { name version userId modelParams { name } }
        }
    }"""
    found = data(tracking_url, versions, filter=f"name = '{model}'")["mlflowSearchModelVersions"]
    assert found == {"modelVersions": [{"name": model, "version": "1", "userId": "", "modelParams": []}]}


def test_metrics_that_are_no_numbers_are_null(tracking_url: str, client: MlflowClient, experiment: str) -> None:
    run = client.create_run(experiment).info.run_id
    client.log_metric(run, "fine", 1.5, timestamp=7, step=3)
    client.log_metric(run, "bad", math.nan, timestamp=8, step=4)
    query = (
        """query Q { mlflowGetRun(input: {runId: "%s"}) { run { data { metrics { key value timestamp step } } } } }"""
    )
    found = data(tracking_url, query % run)["mlflowGetRun"]["run"]["data"]["metrics"]
    assert sorted(found, key=lambda metric: str(metric["key"])) == [
        {"key": "bad", "value": None, "timestamp": "8", "step": "4"},
        {"key": "fine", "value": 1.5, "timestamp": "7", "step": "3"},
    ]


def test_runs_and_histories_are_found(tracking_url: str, client: MlflowClient, experiment: str) -> None:
    first, second = (client.create_run(experiment, start_time=at).info.run_id for at in (1, 2))
    for step in range(10):
        client.log_metric(first, "loss", step, step=step)
    for kind in ("query", "mutation"):
        query = (
            kind
            + """ Q { mlflowSearchRuns(input: {experimentIds: ["%s"], runViewType: ACTIVE_ONLY}) {
            runs { info { runId } } } }"""
        )
        found = data(tracking_url, query % experiment)["mlflowSearchRuns"]["runs"]
        assert found == [{"info": {"runId": second}}, {"info": {"runId": first}}]
    query = """query Q { mlflowGetMetricHistoryBulkInterval(
        input: {runIds: ["%s"], metricKey: "loss", startStep: 2, endStep: 4}) { metrics { key value runId } } }"""
    found = data(tracking_url, query % first)["mlflowGetMetricHistoryBulkInterval"]["metrics"]
    assert found == [{"key": "loss", "value": float(step), "runId": first} for step in (2, 3, 4)]


def test_files_and_datasets_are_listed(
    tracking_url: str, client: MlflowClient, experiment: str, tmp_path: Path
) -> None:
    run, file = client.create_run(experiment).info.run_id, tmp_path / "a.txt"
    file.write_text("eleven char")
    client.log_artifact(run, str(file))
    client.log_artifact(run, str(file), "sub")
    query = 'query Q { files: mlflowListArtifacts(input: {runId: "%s"}) { rootUri files { path isDir fileSize } } }'
    found = data(tracking_url, query % run)["files"]
    assert found["rootUri"] == client.get_run(run).info.artifact_uri
    assert found["files"] == [
        {"path": "a.txt", "isDir": False, "fileSize": "11"},
        {"path": "sub", "isDir": True, "fileSize": "0"},
    ]
    tag = InputTag("mlflow.data.context", "training")
    client.log_inputs(run, [DatasetInput(Dataset("d", "1", "t", "s"), [tag])])
    query = 'mutation M { mlflowSearchDatasets(input: {experimentIds: ["%s"]}) { datasetSummaries { name context } } }'
    found = data(tracking_url, query % experiment)["mlflowSearchDatasets"]["datasetSummaries"]
    assert found == [{"name": "d", "context": "training"}]


def test_what_fails_is_null_beside_its_error(tracking_url: str, client: MlflowClient, experiment: str) -> None:
    name = client.get_experiment(experiment).name
    query = """query Q {
        there: mlflowGetExperiment(input: {experimentId: "%s"}) { experiment { name workspace } }
        gone: mlflowGetExperiment(input: {experimentId: "no-such"}) { experiment { name } }
    }"""
    answer = asked(tracking_url, query % experiment)
    assert answer["data"] == {"there": {"experiment": {"name": name, "workspace": "default"}}, "gone": None}
    assert len(answer["errors"]) == 1 and "No Experiment with id=no-such exists" in answer["errors"][0]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("{ mlflowGetEverything { name } }", "Cannot query field 'mlflowGetEverything' on type 'Query'"),
        ("mutation { test { output } }", "Cannot query field 'test' on type 'Mutation'"),
        ("{ test(inputString: 1) { secret } }", "Cannot query field 'secret'"),
        ("{ test(inputString: 1) }", "must have a selection of subfields"),
        ('{ test(inputString: "1") { output { more } } }', "must not have a selection"),
        ("{ test", "Syntax Error"),
        ("query A { test { output } } query B { test { output } }", "Must provide operation name"),
    ],
)
def test_what_cannot_be_answered_is_refused_whole(tracking_url: str, query: str, says: str) -> None:
    answer = asked(tracking_url, query)
    assert answer["data"] is None
    assert says in answer["errors"][0]


def test_one_of_several_operations_is_carried_out(tracking_url: str) -> None:
    query = 'query A { test(inputString: "a") { output } } query B { other: test(inputString: "b") { output } }'
    assert data(tracking_url, query, "B") == {"other": {"output": "b"}}
    assert asked(tracking_url, query, "C")["errors"] == ["Unknown operation named 'C'."]
