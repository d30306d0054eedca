"""What MLflow's own client wrote, into a folder or a database, is here afterwards as it was there, and can go back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric

from mainspring.core.errors import Unavailable
from mainspring.importers.exporting import MlflowExport
from mainspring.importers.mlflow import MlflowRuns
from mainspring.importers.writing import Importer
from mainspring.planes.embedded import Platform

# MLflow's own models of its tables use what SQLAlchemy 2.1 calls outdated.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")

EXPERIMENT = "My first: exp @ home"


@pytest.fixture(params=["folder", "database"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return str(tmp_path / ("mlruns" if request.param == "folder" else "mlflow.db"))


@pytest.fixture
def client(store: str, tmp_path: Path) -> Iterator[MlflowClient]:
    """A store of MLflow's with a parent, its child, a history, files, and a model with two versions."""
    uri = Path(store).as_uri() if store.endswith("mlruns") else f"sqlite:///{store}"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    artifacts = (tmp_path / "artifacts").as_uri()
    experiment = client.create_experiment(EXPERIMENT, artifact_location=artifacts)
    parent = client.create_run(experiment, run_name="parent", start_time=1_790_000_000_000).info.run_id
    client.log_batch(parent, [Metric("acc", step / 2000, 1_790_000_000_000 + step, step) for step in range(1000)])
    client.log_batch(parent, [Metric("acc", step / 2000, 1_790_000_000_000 + step, step) for step in range(1000, 1500)])
    client.log_param(parent, "lr", "0.1")
    client.set_tag(parent, "team", "ads")
    client.log_text(parent, "hello", "notes/a.txt")
    client.log_text(parent, "flavors: {}\n", "model/MLmodel")
    child = client.create_run(experiment, tags={"mlflow.parentRunId": parent}, run_name="child")
    client.log_metric(child.info.run_id, "odd", math.nan)
    client.set_terminated(child.info.run_id, "FAILED")
    client.set_terminated(parent, end_time=1_790_000_060_000)
    deleted = client.create_run(experiment, run_name="deleted").info.run_id
    client.delete_run(deleted)
    yield client
    mlflow.set_tracking_uri(None)


def test_everything_of_a_run_is_here_under_its_own_id_and_a_second_time_changes_nothing(
    platform: Platform, store: str, client: MlflowClient
) -> None:
    source = MlflowRuns(store)
    report = Importer(platform).bring(source)
    assert (report.runs, report.unchanged, report.points, report.files) == (2, 0, 1501, 2)
    assert report.problems == []
    there = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id], order_by=["start_time ASC"])
    for run in there:
        here = platform.tracking.get_run(run.info.run_id)
        assert here.run.experiment == EXPERIMENT
        assert (here.run.name, here.run.status) == (run.info.run_name, run.info.status.lower())
        assert round(here.run.started.timestamp() * 1000) == run.info.start_time
        assert here.run.ended is not None
        assert round(here.run.ended.timestamp() * 1000) == run.info.end_time
        assert here.params == run.data.params
        assert here.tags.items() >= run.data.tags.items()
    parent, child = (run.info.run_id for run in there)
    history = platform.tracking.metric_history(parent, "acc")
    assert (history.steps[-1], history.values[-1], len(history.steps)) == (1499, 1499 / 2000, 1500)
    assert platform.tracking.get_run(child).run.parent == parent
    assert math.isnan(platform.tracking.get_run(child).metrics["odd"].number)
    (note,) = platform.tracking.list_artifacts(parent, under="notes")
    assert platform.objects.get_bytes(note.digest) == b"hello"
    again = Importer(platform).bring(source)
    assert (again.runs, again.unchanged, again.points) == (0, 2, 0)
    source.close()


def test_what_has_grown_since_is_brought_and_what_was_broken_off_goes_on(
    platform: Platform, store: str, client: MlflowClient
) -> None:
    class Broken(Exception):
        """The import is killed."""

    def tell(line: str) -> None:
        raise Broken

    source = MlflowRuns(store)
    with pytest.raises(Broken):
        Importer(platform, tell).bring(source)
    report = Importer(platform).bring(source)
    assert (report.runs, report.unchanged) == (1, 1)
    (parent, _) = source.runs()
    client.log_metric(parent.id, "acc", 0.99, timestamp=1_790_000_070_000, step=1500)
    report = Importer(platform).bring(source)
    assert (report.runs, report.unchanged) == (1, 1)
    details = platform.tracking.get_run(parent.id)
    assert (details.metrics["acc"].step, details.run.status) == (1500, "finished")
    source.close()


def test_runs_go_back_to_mlflow_as_they_were(
    platform: Platform, store: str, client: MlflowClient, tmp_path: Path
) -> None:
    source = MlflowRuns(store)
    Importer(platform).bring(source)
    back = f"sqlite:///{tmp_path / 'back.db'}"
    MlflowClient(tracking_uri=back).create_experiment(EXPERIMENT, artifact_location=(tmp_path / "back").as_uri())
    report = MlflowExport(platform, back).take()
    assert (report.runs, report.points, report.files, report.problems) == (2, 1501, 2, [])
    returned = MlflowClient(tracking_uri=back)
    before = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id], order_by=["start_time ASC"])
    after = returned.search_runs(
        [returned.get_experiment_by_name(EXPERIMENT).experiment_id], order_by=["start_time ASC"]
    )
    for one, other in zip(before, after, strict=True):
        assert (one.info.run_name, one.info.status, one.info.start_time, one.info.end_time) == (
            other.info.run_name,
            other.info.status,
            other.info.start_time,
            other.info.end_time,
        )
        assert one.data.params == other.data.params
        for key in one.data.metrics:
            mine, theirs = (c.get_metric_history(r.info.run_id, key) for c, r in ((client, one), (returned, other)))
            assert [(p.step, p.timestamp, str(p.value)) for p in mine] == [
                (p.step, p.timestamp, str(p.value)) for p in theirs
            ]
    file = returned.download_artifacts(after[0].info.run_id, "notes/a.txt", str(tmp_path))
    assert Path(file).read_text() == "hello"
    again = MlflowExport(platform, back).take()
    assert (again.runs, again.unchanged) == (0, 2)
    source.close()


def test_a_store_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="there is no"):
        MlflowRuns(str(tmp_path / "nothing"))
    assert list(tmp_path.iterdir()) == []
