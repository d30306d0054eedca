"""A script that uses MLflow's fluent functions runs unchanged."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import mlflow
import numpy as np
import pytest
from mlflow.entities import Metric, Param, RunTag
from mlflow.entities.lifecycle_stage import LifecycleStage


@pytest.fixture(autouse=True)
def experiment(tracking_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The id of the active experiment, which only this test uses."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(tracking_url)
    yield str(mlflow.set_experiment(f"fluent {uuid.uuid4()}").experiment_id)
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(before)


def test_a_script_logs_what_it_does(experiment: str) -> None:
    with mlflow.start_run(run_name="whole", tags={"team": "ads"}, description="what it is for") as run:
        mlflow.log_param("lr", 0.1)
        mlflow.log_params({"depth": 3, "kind": "tree"})
        for step in range(3):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
        mlflow.log_metrics({"auc": 0.9, "f1": 0.8}, step=2)
        mlflow.set_tag("a", 1)
        mlflow.set_tags({"b": 2, "c": 3})
        mlflow.delete_tag("c")
        mlflow.set_experiment_tag("owner", "ann")
    found = mlflow.get_run(run.info.run_id)
    assert found.data.params == {"lr": "0.1", "depth": "3", "kind": "tree"}
    assert found.data.metrics == {"loss": 1 / 3, "auc": 0.9, "f1": 0.8}
    assert (
        found.data.tags.items() >= {"team": "ads", "a": "1", "b": "2", "mlflow.note.content": "what it is for"}.items()
    )
    assert "c" not in found.data.tags
    assert (found.info.status, found.info.run_name) == ("FINISHED", "whole")
    assert found.info.start_time <= found.info.end_time
    assert mlflow.get_experiment(experiment).tags["owner"] == "ann"
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]


def test_a_script_that_fails_leaves_a_failed_run() -> None:
    with pytest.raises(ZeroDivisionError), mlflow.start_run() as run:
        _ = 1 / 0
    assert mlflow.get_run(run.info.run_id).info.status == "FAILED"


def test_a_run_goes_on_where_it_was_left() -> None:
    with mlflow.start_run() as run:
        mlflow.log_metric("m", 1)
    with mlflow.start_run(run_id=run.info.run_id):
        assert mlflow.get_run(run.info.run_id).info.status == "RUNNING"
        mlflow.log_metric("m", 2, step=1)
    found = mlflow.get_run(run.info.run_id)
    assert (found.info.status, found.data.metrics) == ("FINISHED", {"m": 2})


def test_runs_nest(experiment: str) -> None:
    with mlflow.start_run(run_name="search") as parent:
        for number in range(3):
            with mlflow.start_run(run_name=f"trial {number}", nested=True):
                mlflow.log_metric("score", number)
    where = f"tags.mlflow.parentRunId = '{parent.info.run_id}'"
    found = mlflow.search_runs(
        [experiment], where, order_by=["metrics.score DESC"], output_format="list", max_results=2
    )
    assert [run.info.run_name for run in found] == ["trial 2", "trial 1"]
    above = mlflow.get_parent_run(found[0].info.run_id)
    assert above is not None and above.info.run_id == parent.info.run_id


def test_many_runs_are_found_over_pages(experiment: str) -> None:
    for number in range(5):
        with mlflow.start_run(run_name=str(number)):
            mlflow.log_param("even", number % 2 == 0)
    found = mlflow.search_runs(
        experiment_names=[mlflow.get_experiment(experiment).name],
        filter_string="params.even = 'True'",
        order_by=["start_time ASC"],
        output_format="list",
    )
    assert [run.info.run_name for run in found] == ["0", "2", "4"]
    assert list(mlflow.search_runs([experiment])["tags.mlflow.runName"]) == ["4", "3", "2", "1", "0"]


def test_what_is_logged_asynchronously_arrives() -> None:
    with mlflow.start_run() as run:
        waiting = [mlflow.log_metric("m", step, step=step, synchronous=False) for step in range(20)]
        waiting.append(mlflow.log_params({"p": 1}, synchronous=False))
        waiting.append(mlflow.set_tag("t", "1", synchronous=False))
        for one in waiting:
            one.wait()
    client = mlflow.MlflowClient()
    batch = client.log_batch(
        run.info.run_id, [Metric("n", 1, 1, 0)], [Param("q", "2")], [RunTag("u", "2")], synchronous=False
    )
    batch.wait()
    found = client.get_run(run.info.run_id).data
    assert (found.metrics, found.params) == ({"m": 19.0, "n": 1.0}, {"p": "1", "q": "2"})
    assert (found.tags["t"], found.tags["u"]) == ("1", "2")
    assert [point.value for point in client.get_metric_history(run.info.run_id, "m")] == list(range(20))


def test_a_dataset_of_arrays_is_noted(experiment: str) -> None:
    dataset = mlflow.data.from_numpy(np.arange(6), targets=np.arange(6), name="numbers")
    with mlflow.start_run() as run:
        mlflow.log_input(dataset, context="training", tags={"split": "a"})
    (found,) = mlflow.get_run(run.info.run_id).inputs.dataset_inputs
    assert (found.dataset.name, found.dataset.digest) == ("numbers", dataset.digest)
    assert {tag.key: tag.value for tag in found.tags} == {"mlflow.data.context": "training", "split": "a"}
    where = "dataset.name = 'numbers' AND dataset.context = 'training'"
    (same,) = mlflow.search_runs([experiment], where, output_format="list")
    assert same.info.run_id == run.info.run_id


def test_runs_and_experiments_are_deleted_and_restored(experiment: str) -> None:
    with mlflow.start_run() as run:
        pass
    mlflow.delete_run(run.info.run_id)
    assert mlflow.get_run(run.info.run_id).info.lifecycle_stage == LifecycleStage.DELETED
    mlflow.MlflowClient().restore_run(run.info.run_id)
    mlflow.delete_experiment(experiment)
    name = mlflow.get_experiment(experiment).name
    assert name not in [one.name for one in mlflow.search_experiments()]
    with pytest.raises(mlflow.MlflowException, match="deleted"):
        mlflow.set_experiment(name)
    mlflow.MlflowClient().restore_experiment(experiment)
    assert name in [one.name for one in mlflow.search_experiments(filter_string="name LIKE 'fluent %'")]


def test_a_thousand_metrics_at_once_are_one_request() -> None:
    with mlflow.start_run() as run:
        mlflow.MlflowClient().log_batch(run.info.run_id, [Metric(f"m{at}", at, at, 0) for at in range(1_000)])
    assert len(mlflow.get_run(run.info.run_id).data.metrics) == 1_000
