"""What our own verbs do to runs and experiments, as MLflow's own client sees it."""

from __future__ import annotations

import uuid

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

import mainspring as ms


def test_a_fork_is_one_whole_history_and_what_was_removed_frees_its_name(tracking_url: str) -> None:
    client, name = MlflowClient(tracking_url), f"team/{uuid.uuid4().hex}"
    experiment = client.create_experiment(name)
    run = client.create_run(experiment, tags={"team": "ads"}).info.run_id
    for step in range(5):
        client.log_metric(run, "loss", 1.0 - step / 10, step=step)
    with ms.connect(tracking_url) as session:
        fork = session.run_editor.fork_run(run, 2).id
        client.log_metric(fork, "loss", 0.1, step=3)
        session.runs.note_run(fork, "**good**")
        assert [one.value for one in client.get_metric_history(fork, "loss")] == [1.0, 0.9, 0.8, 0.1]
        told = client.get_run(fork).data
        assert (told.metrics["loss"], told.tags["mlflow.note.content"]) == (0.1, "**good**")
        found = client.search_runs([experiment], f"tags.`mainspring.forked_from` = '{run}'")
        assert [one.info.run_id for one in found] == [fork]
        client.delete_run(run)
        assert session.runs.restore_run(run).deleted is None
        client.delete_experiment(experiment)
        with pytest.raises(MlflowException, match="mainspring gc") as refused:
            client.create_experiment(name)
        assert refused.value.error_code == "RESOURCE_ALREADY_EXISTS"
        assert session.garbage.collect_garbage(experiments=[name]).runs == 2
    with pytest.raises(MlflowException, match="not found"):
        client.get_run(run)
    assert client.create_experiment(name) != experiment
