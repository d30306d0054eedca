"""Tracking keeps what was logged, once, and says clearly what it refuses."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from mainspring.core.clock import ManualClock
from mainspring.core.errors import AlreadyExists, Conflict, InvalidRequest, NotFound, TooLarge
from mainspring.core.ids import new_id
from mainspring.storage.sql.journal import edges_up, latest_events
from mainspring.tracking.model import Environment, Metric, Package, SourceCode, UntrackedFile
from mainspring.tracking.service import Tracking


def test_an_experiment_is_created_once_and_carries_its_tags(tracking: Tracking) -> None:
    created = tracking.create_experiment("churn", tags={"team": "ads"})
    assert tracking.get_experiment("churn") == created
    with pytest.raises(AlreadyExists, match="churn"):
        tracking.create_experiment("churn")
    assert tracking.tag_experiment("churn", {"team": "core", "x": "1"}).tags == {"team": "core", "x": "1"}


def test_experiments_are_listed_by_name_in_pages(tracking: Tracking) -> None:
    for name in ("c", "a", "b"):
        tracking.create_experiment(name, tags={"is": name})
    assert [(e.name, e.tags) for e in tracking.list_experiments(limit=2)] == [("a", {"is": "a"}), ("b", {"is": "b"})]
    assert [e.name for e in tracking.list_experiments(after="b")] == ["c"]


def test_a_run_keeps_what_it_was_started_with(tracking: Tracking, clock: ManualClock) -> None:
    started = clock.now()
    parent = tracking.create_run("churn", "search")
    clock.advance(5)
    run = tracking.create_run("churn", parent=parent.id, params={"lr": "0.1"}, tags={"kind": "trial"})
    details = tracking.get_run(run.id)
    assert details.run == run
    assert (run.parent, run.status, details.params, details.tags) == (
        parent.id,
        "running",
        {"lr": "0.1"},
        {"kind": "trial"},
    )
    assert tracking.get_run(parent.id).run.started == started


def test_creating_a_run_twice_with_one_token_gives_the_first_run_and_one_event(tracking: Tracking) -> None:
    first = tracking.create_run("churn", "a", token="job/step/run")
    assert tracking.create_run("churn", "b", token="job/step/run") == first
    own_id = new_id()
    assert tracking.create_run("churn", run=own_id) == tracking.create_run("churn", run=own_id)
    with tracking.database.read() as connection:
        assert len(latest_events(connection, kind="RunStarted")) == 2


def test_a_token_of_another_experiment_is_refused(tracking: Tracking) -> None:
    tracking.create_run("churn", token="t")
    with pytest.raises(Conflict, match="churn"):
        tracking.create_run("fraud", token="t")


def test_calls_with_one_token_at_the_same_time_make_one_run(tracking: Tracking) -> None:
    found: list[str] = []
    barrier = threading.Barrier(8)

    def create() -> None:
        barrier.wait()
        found.append(tracking.create_run("churn", token="t").id)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_run_of_an_unknown_parent_is_refused(tracking: Tracking) -> None:
    with pytest.raises(NotFound, match="nobody"):
        tracking.create_run("churn", parent="nobody")


def test_a_run_ends_once_and_may_go_on(tracking: Tracking, clock: ManualClock) -> None:
    run = tracking.create_run("churn").id
    clock.advance(60)
    finished = tracking.finish_run(run)
    assert (finished.status, finished.ended) == ("finished", clock.now())
    clock.advance(60)
    assert tracking.finish_run(run) == finished
    with pytest.raises(Conflict, match="resume"):
        tracking.finish_run(run, "failed")
    resumed = tracking.resume_run(run)
    assert (resumed.status, resumed.ended) == ("running", None)
    assert tracking.finish_run(run, "killed").status == "killed"


def test_a_param_is_written_once(tracking: Tracking) -> None:
    run = tracking.create_run("churn").id
    tracking.log_params(run, {"lr": "0.1"})
    tracking.log_params(run, {"lr": "0.1", "depth": "3"})
    with pytest.raises(Conflict, match=r"'0\.1'.*'0\.2'"):
        tracking.log_batch(run, params={"new": "1", "lr": "0.2"}, metrics=[Metric("loss", 1.0)])
    details = tracking.get_run(run)
    assert details.params == {"lr": "0.1", "depth": "3"}
    assert details.metrics == {}, "a refused batch must leave nothing behind"


def test_the_latest_point_is_that_of_the_greatest_step_then_time_then_value(tracking: Tracking) -> None:
    run = tracking.create_run("churn").id
    tracking.log_batch(run, metrics=[Metric("loss", 3.0, 2, 10), Metric("loss", 9.0, 1, 99)])
    assert tracking.get_run(run).metrics["loss"] == Metric("loss", 3.0, 2, 10)
    tracking.log_batch(run, metrics=[Metric("loss", 1.0, 1, 200)])
    assert tracking.get_run(run).metrics["loss"].number == 3.0
    tracking.log_batch(run, metrics=[Metric("loss", 2.0, 2, 10), Metric("loss", 4.0, 2, 10)])
    assert tracking.get_run(run).metrics["loss"].number == 4.0


def test_a_history_has_every_point_once_in_order_and_in_pages(tracking: Tracking) -> None:
    run = tracking.create_run("churn").id
    points = [Metric("loss", float(step), step, 1_000 + step) for step in range(1000)]
    tracking.log_batch(run, metrics=points[500:])
    tracking.log_batch(run, metrics=points[:501])
    first = tracking.metric_history(run, "loss", limit=600)
    second = tracking.metric_history(run, "loss", limit=600, page=first.next_page)
    assert first.steps + second.steps == list(range(1000))
    assert first.values + second.values == [float(step) for step in range(1000)]
    assert second.next_page is None


def test_a_metric_may_be_nan_or_infinite(tracking: Tracking) -> None:
    run = tracking.create_run("churn").id
    values = [-math.inf, -1.5, -0.0, 5e-324, 1.5, math.inf, math.nan]
    tracking.log_batch(run, metrics=[Metric("m", value, 0, 7) for value in values])
    tracking.log_batch(run, metrics=[Metric("m", math.nan, 0, 7)])
    assert tracking.metric_history(run, "m").values == ["-inf", -1.5, 0.0, 5e-324, 1.5, "inf", "nan"]
    assert math.isnan(tracking.get_run(run).metrics["m"].number)


def test_a_metric_without_a_time_was_measured_when_it_arrived(tracking: Tracking, clock: ManualClock) -> None:
    run = tracking.create_run("churn").id
    tracking.log_metric(run, "auc", 0.9, step=3)
    assert tracking.get_run(run).metrics["auc"] == Metric("auc", 0.9, 3, int(clock.now().timestamp() * 1e6))


def test_a_batch_that_is_sent_again_is_ignored(tracking: Tracking) -> None:
    run = tracking.create_run("churn").id
    tracking.log_batch(run, tags={"state": "new"}, metrics=[Metric("n", 1.0)], writer="w", sequence=1)
    tracking.log_batch(run, tags={"state": "newer"}, writer="w", sequence=2)
    tracking.log_batch(run, tags={"state": "new"}, metrics=[Metric("n", 1.0)], writer="w", sequence=1)
    assert tracking.get_run(run).tags == {"state": "newer"}
    assert len(tracking.metric_history(run, "n").steps) == 1
    tracking.log_batch(run, tags={"state": "other"}, writer="another", sequence=1)
    assert tracking.get_run(run).tags == {"state": "other"}


def test_tags_can_be_removed(tracking: Tracking) -> None:
    run = tracking.create_run("churn", tags={"a": "1", "b": "2"}).id
    tracking.delete_tag(run, "a")
    assert tracking.get_run(run).tags == {"b": "2"}
    with pytest.raises(NotFound, match="No tag with name: a in run"):
        tracking.delete_tag(run, "a")


@pytest.mark.parametrize(
    ("batch", "error"),
    [
        ({"metrics": [Metric("m", 1.0, step) for step in range(1001)]}, TooLarge),
        ({"params": {str(n): "" for n in range(101)}}, TooLarge),
        ({"tags": {str(n): "" for n in range(101)}}, TooLarge),
        ({"params": {"p": "x" * 6001}}, InvalidRequest),
        ({"tags": {"t" * 251: ""}}, InvalidRequest),
        ({"tags": {"": ""}}, InvalidRequest),
        ({"tags": {"t": "nul\0"}}, InvalidRequest),
        ({"metrics": [Metric("m", 1.0, 2**63)]}, InvalidRequest),
    ],
)
def test_a_batch_beyond_the_limits_is_refused(
    tracking: Tracking, batch: dict[str, object], error: type[Exception]
) -> None:
    run = tracking.create_run("churn").id
    with pytest.raises(error):
        tracking.log_batch(run, **batch)


def test_logging_to_an_unknown_run_is_refused(tracking: Tracking) -> None:
    with pytest.raises(NotFound, match="nobody"):
        tracking.log_metric("nobody", "m", 1.0)
    with pytest.raises(NotFound, match="nobody"):
        tracking.metric_history("nobody", "m")


def test_an_artifact_is_a_path_that_points_to_an_object(tracking: Tracking) -> None:
    run = tracking.create_run("churn").id
    tracking.put_artifact(run, "plots/roc.png", b"old")
    artifact = tracking.put_artifact(run, "plots/roc.png", b"\x89PNG")
    tracking.put_artifact(run, "Plots/x", b"")
    tracking.put_artifact(run, "model/MLmodel", b"flavors: {}")
    assert tracking.read_artifact(run, "plots/roc.png") == b"\x89PNG"
    assert tracking.objects.get_bytes(artifact.digest) == b"\x89PNG"
    assert tracking.list_artifacts(run, under="plots") == [artifact]
    assert [a.path for a in tracking.list_artifacts(run, after="model/MLmodel")] in (
        ["plots/roc.png"],
        ["plots/roc.png", "Plots/x"],
    )
    with pytest.raises(NotFound, match="jpg"):
        tracking.get_artifact(run, "plots/roc.jpg")


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "../up", "a/../b", "a//b", "a/", "./a", "a\\b", "C:/x", "a\0b", "a\nb", "x" * 1001]
)
def test_a_path_that_could_leave_its_folder_is_refused(tracking: Tracking, path: str) -> None:
    run = tracking.create_run("churn").id
    with pytest.raises(InvalidRequest):
        tracking.put_artifact(run, path, b"x")


def test_a_path_is_a_file_or_a_folder_not_both(tracking: Tracking) -> None:
    run = tracking.create_run("churn").id
    tracking.put_artifact(run, "a/b", b"x")
    for path in ("a", "a/b/c"):
        with pytest.raises(Conflict):
            tracking.put_artifact(run, path, b"y")


def test_an_artifact_of_an_unknown_object_is_refused(tracking: Tracking) -> None:
    run = tracking.create_run("churn").id
    with pytest.raises(NotFound, match="upload"):
        tracking.log_artifact(run, "x", f"sha256:{'0' * 64}")


def test_reading_a_dataset_draws_lineage_at_once(tracking: Tracking) -> None:
    run = tracking.create_run("churn")
    tracking.log_input(run.id, "dataset:trips@12")
    tracking.log_input(run.id, "trips@12", "training")
    tracking.log_input(run.id, "dataset:trips@13", "evaluation")
    assert [(i.dataset, i.context) for i in tracking.get_run(run.id).inputs] == [
        ("dataset:trips@12", "training"),
        ("dataset:trips@13", "evaluation"),
    ]
    with tracking.database.read() as connection:
        assert {edge.source for edge in edges_up(connection, [run.ref])} == {"dataset:trips@12", "dataset:trips@13"}
        assert len(latest_events(connection, kind="RunReadDataset")) == 2


@pytest.mark.parametrize("dataset", ["dataset:trips", "dataset:trips@latest", "model:churn@1"])
def test_a_dataset_input_names_a_version(tracking: Tracking, dataset: str) -> None:
    run = tracking.create_run("churn").id
    with pytest.raises(InvalidRequest):
        tracking.log_input(run, dataset)


def test_code_becomes_artifacts_and_lineage(tracking: Tracking) -> None:
    run = tracking.create_run("churn")
    commit = "a" * 40
    code = SourceCode(commit, "main", True, b"diff", [UntrackedFile("new.py", b"print()")], [".env: may hold secrets"])
    recorded = tracking.record_code(run.id, code)
    assert (recorded.commit, recorded.branch, recorded.dirty) == (commit, "main", True)
    assert tracking.read_artifact(run.id, "code/diff.patch") == b"diff"
    assert tracking.read_artifact(run.id, "code/untracked/new.py") == b"print()"
    assert b".env" in tracking.read_artifact(run.id, "code/left_out.txt")
    with tracking.database.read() as connection:
        assert [edge.source for edge in edges_up(connection, [run.ref])] == [f"commit:{commit}"]


def test_the_environment_is_kept_with_the_run(tracking: Tracking) -> None:
    run = tracking.create_run("churn").id
    with pytest.raises(NotFound):
        tracking.get_environment(run)
    environment = Environment("3.11.2", "Linux", "x86_64", "a CPU", 2, 2**34, packages=[Package("numpy", "2.3.0")])
    tracking.record_environment(run, environment)
    assert tracking.get_environment(run) == environment


def test_the_end_of_a_run_is_an_event(tracking: Tracking) -> None:
    run = tracking.create_run("churn", started=datetime(2026, 1, 1, tzinfo=UTC))
    tracking.finish_run(run.id, "failed")
    with tracking.database.read() as connection:
        event = latest_events(connection, ref=run.ref, kind="RunFinished")[0]
    assert event.body == {"run": run.ref, "status": "failed"}


def in_threads(count: int, work: Callable[[int], object]) -> None:
    barrier, failures = threading.Barrier(count), []

    def run(number: int) -> None:
        barrier.wait()
        try:
            work(number)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_runs_that_start_at_the_same_time_share_a_new_experiment(tracking: Tracking) -> None:
    in_threads(6, lambda number: tracking.create_run("churn", token=f"t{number}"))
    assert len(tracking.list_experiments()) == 1
    assert len(tracking.search_runs(["churn"]).runs) == 6


def test_several_may_log_to_one_run_at_the_same_time(tracking: Tracking) -> None:
    run = tracking.create_run("churn").id

    def log(number: int) -> None:
        for step in range(5):
            metrics = [Metric(key, float(number), step, number) for key in ("loss", "auc")]
            tracking.log_batch(run, metrics, {"p": "1"}, {f"t{number}": str(step)}, writer=f"w{number}", sequence=step)

    in_threads(4, log)
    details = tracking.get_run(run)
    assert details.metrics["loss"] == Metric("loss", 3.0, 4, 3)
    assert details.tags == {f"t{number}": "4" for number in range(4)}
    assert len(tracking.metric_history(run, "auc").steps) == 20
