"""Runs are searched in MLflow's language, and in what its users asked for beyond it."""

from __future__ import annotations

import math
import uuid

import pytest
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.exceptions import MlflowException


@pytest.fixture(scope="module")
def client(tracking_url: str) -> MlflowClient:
    return MlflowClient(tracking_url)


@pytest.fixture(scope="module")
def experiment(client: MlflowClient) -> str:
    """An experiment with the runs A, B and C, of which C has next to nothing."""
    id = str(client.create_experiment(f"filters {uuid.uuid4()}"))
    runs = {name: client.create_run(id, start_time=at, run_name=name) for at, name in enumerate("ABC", 1)}
    a, b, c = (run.info.run_id for run in runs.values())
    for run, auc in ((a, 0.9), (b, 0.8)):
        client.log_metric(run, "auc", auc)
        client.log_metric(run, "val/loss 1", 1 - auc)
    client.log_metric(c, "nan", math.nan)
    client.log_metric(a, "nan", 1)
    client.log_metric(a, "big", math.inf)
    client.log_metric(b, "big", -math.inf)
    client.log_param(a, "lr", "0.1")
    client.log_param(b, "lr", "0.2")
    client.log_param(a, "my key", "It's")
    client.set_tag(a, "team", "Ads")
    client.set_tag(b, "team", "search_%")
    used = Dataset("trips", "d1", "local", "{}")
    client.log_inputs(a, [DatasetInput(used, [InputTag("mlflow.data.context", "training")])])
    client.log_inputs(b, [DatasetInput(used, [InputTag("mlflow.data.context", "test")])])
    client.set_terminated(a, "FINISHED", 100)
    client.set_terminated(b, "FAILED", 200)
    return id


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("", "CBA"),
        ("metrics.auc > 0.8", "A"),
        ("metric.auc >= 0.8 and metrics.auc < 0.9", "B"),
        ("metrics.auc != 0.9", "B"),
        ("metrics.auc = 9e-1", "A"),
        ("metrics.`val/loss 1` < 0.15", "A"),
        ('metrics."val/loss 1" < 0.15', "A"),
        ("metrics.nan != 2", "CA"),
        ("metrics.nan > 0", "A"),
        ("metrics.big > 1e308", "A"),
        ("metrics.big < -1e308", "B"),
        ("params.lr = '0.1'", "A"),
        ('parameters.lr = "0.2"', "B"),
        ("params.lr != '0.1'", "B"),
        ("param.`my key` LIKE 'It%'", "A"),
        ("params.lr IS NULL", "C"),
        ("params.lr IS NOT NULL", "BA"),
        ("tags.team LIKE 'a%'", ""),
        ("tags.team ILIKE 'a%'", "A"),
        ("tag.team = 'search_%'", "B"),
        ("tags.team != 'Ads'", "B"),
        ("status = 'FINISHED'", "A"),
        ("attributes.status IN ('FINISHED', 'FAILED')", "BA"),
        ("status NOT IN ('FINISHED')", "CB"),
        ("attr.status != 'RUNNING'", "BA"),
        ("run.run_name = 'B'", "B"),
        ("attributes.`run name` = 'B'", "B"),
        ("Created > 1", "CB"),
        ("start_time = 2", "B"),
        ("end_time <= 100", "A"),
        ("attribute.artifact_uri LIKE 'mlflow-artifacts:/%'", "CBA"),
        ("dataset.name = 'trips'", "BA"),
        ("datasets.digest = 'd1' AND dataset.context = 'test'", "B"),
        ("dataset.context IN ('training', 'other')", "A"),
        ("dataset.name ILIKE 'TR%' AND dataset.name NOT IN ('x')", "BA"),
        # Beyond MLflow's own server.
        ("metrics.auc > 0.85 OR params.lr = '0.2'", "BA"),
        ("NOT metrics.auc > 0.85", "CB"),
        ("(status = 'FAILED' or tags.team = 'Ads') and not metrics.auc < 0.85", "A"),
        ("metrics.auc BETWEEN 0.75 AND 0.85", "B"),
        ("metrics.auc NOT BETWEEN 0.75 AND 0.85", "A"),
        ("start_time BETWEEN 2 AND 3 AND status = 'FAILED'", "B"),
        ("metrics.auc IN (0.9, 0.7)", "A"),
        ("params.lr IN ('0.1', '0.2')", "BA"),
        ("params.lr NOT LIKE '%1'", "B"),
        ("metrics.auc IS NULL", "C"),
        ("run_name IN ('A', 'C')", "CA"),
        ("user_id IS NULL", ""),
    ],
)
def test_a_filter_finds_what_it_says(client: MlflowClient, experiment: str, where: str, found: str) -> None:
    assert "".join(run.info.run_name for run in client.search_runs([experiment], where)) == found


@pytest.mark.parametrize(
    "where",
    [
        "metrics.auc > '0.9'",
        "metrics.auc LIKE '0.9'",
        "params.lr = 0.1",
        "params.lr = abc",
        "params.lr > '0.1'",
        "tags.team = 3",
        "status > 'A'",
        "start_time LIKE '1'",
        "start_time = 'today'",
        "nothing = 'x'",
        "model.name = 'x'",
        "dataset.profile = 'x'",
        "metrics.auc",
        "metrics.auc >",
        "metrics.auc > 0.9 AND",
        "metrics.auc > 0.9 metrics.auc < 1",
        "(metrics.auc > 0.9",
        "metrics.auc BETWEEN 1",
        "params.lr IN ()",
        "'x' = params.lr",
    ],
)
def test_a_filter_that_says_nothing_is_refused(client: MlflowClient, experiment: str, where: str) -> None:
    with pytest.raises(MlflowException) as refused:
        client.search_runs([experiment], where)
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE"


def test_many_ids_can_be_asked_for_at_once(client: MlflowClient, experiment: str) -> None:
    ids = ", ".join(f"'{uuid.uuid4().hex}'" for _ in range(2_000))
    (own, *_) = client.search_runs([experiment])
    (found,) = client.search_runs([experiment], f"run_id IN ({ids}, '{own.info.run_id}')")
    assert found.info.run_id == own.info.run_id


@pytest.mark.parametrize(
    ("order", "found"),
    [
        (["metrics.auc"], "BAC"),
        (["metrics.auc DESC"], "ABC"),
        (["params.lr DESC"], "BAC"),
        (["tags.team", "start_time ASC"], "ABC"),
        (["attributes.end_time DESC"], "BAC"),
        (["run_name DESC"], "CBA"),
        (["tags.mlflow.runName"], "ABC"),
        (["metrics.`val/loss 1` asc"], "ABC"),
        (["metrics.nan"], "ACB"),
        (["metrics.big DESC"], "ABC"),
        (["artifact_uri"], "ABC"),
    ],
)
def test_runs_without_a_value_come_last_in_both_directions(
    client: MlflowClient, experiment: str, order: list[str], found: str
) -> None:
    assert "".join(run.info.run_name for run in client.search_runs([experiment], order_by=order)) == found
