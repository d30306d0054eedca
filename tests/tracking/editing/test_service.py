"""Runs that are made of others, histories that are corrected, and one metric against another."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from mainspring.core.clock import ManualClock
from mainspring.core.errors import Conflict, InvalidRequest, NotFound
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import edges_up, latest_events
from mainspring.tracking.editing import joining
from mainspring.tracking.editing.model import Corrected
from mainspring.tracking.editing.service import RunEditor, command_with
from mainspring.tracking.model import DatasetInput, Metric, ModelLink
from mainspring.tracking.service import Tracking


@pytest.fixture
def editor(database: Database, clock: ManualClock, reached: Callable[[RunEditor], RunEditor]) -> RunEditor:
    return reached(RunEditor(database, clock))


@pytest.fixture
def run(tracking: Tracking) -> str:
    tags = {"team": "ads", "mainspring.starred": "true", "mlflow.runName": "first"}
    run = str(tracking.create_run("team/e", "first", params={"depth": "3"}, tags=tags).id)
    loss = [Metric("loss", 1.0 - step / 100, step, step * 10) for step in range(100)]
    late = [Metric("late", 7.0, step, step) for step in range(80, 90)]
    odd = [Metric("odd", value, 5, 5) for value in (math.nan, math.inf, -1.0)]
    tracking.log_batch(run, [*loss, *late, *odd])
    tracking.log_input(run, "dataset:trips@1")
    tracking.lifecycle.log_inputs(run, [], ["m-read"])
    tracking.lifecycle.log_outputs(run, [ModelLink("m-made", 3)])
    tracking.put_artifact(run, "a.txt", b"a")
    return run


def test_a_fork_has_the_history_up_to_its_step_and_goes_its_own_way(
    editor: RunEditor, tracking: Tracking, run: str
) -> None:
    before = tracking.get_run(run)
    fork = editor.fork_run(run, 49)
    found = tracking.get_run(fork.id)
    assert (fork.status, fork.name, fork.experiment) == ("running", "first from 49", "team/e")
    assert found.params == {"depth": "3"}
    assert found.tags == {"team": "ads", "mainspring.forked_from": run, "mainspring.forked_at": "49"}
    assert found.inputs == [DatasetInput("dataset:trips@1")]
    assert (found.models_read, found.models_made) == ([ModelLink("m-read")], [])
    assert found.metrics == {"loss": Metric("loss", 0.51, 49, 490), "odd": Metric("odd", "nan", 5, 5)}
    assert tracking.metric_history(fork.id, "loss").values == tracking.metric_history(run, "loss").values[:50]
    assert tracking.metric_history(fork.id, "odd").values == [-1.0, "inf", "nan"]
    assert tracking.metric_history(fork.id, "late").values == []
    assert tracking.list_artifacts(fork.id) == []
    tracking.log_metric(fork.id, "loss", 9.0, 50)
    assert tracking.get_run(run) == before
    assert [one.run.id for one in tracking.search_runs(where=f"forked_from = '{run}'").runs] == [fork.id]
    with tracking.database.read() as connection:
        assert f"run:{run}" in [edge.source for edge in edges_up(connection, [fork.ref])]


def test_a_fork_or_a_clone_of_one_token_is_made_once(editor: RunEditor, tracking: Tracking, run: str) -> None:
    assert editor.fork_run(run, 3, token="t").id == editor.fork_run(run, 3, token="t").id
    assert editor.clone_run(run, token="u").run.id == editor.clone_run(run, token="u").run.id
    assert len(tracking.search_runs().runs) == 3


def test_a_clone_waits_with_its_edited_parameters_and_the_command(
    editor: RunEditor, tracking: Tracking, run: str
) -> None:
    tracking.set_tags(run, {"mainspring.command": "python train.py --depth 3 'a b'"})
    clone = editor.clone_run(run, {"depth": "5", "rate": "0.1"}, name="deeper")
    assert clone.command == ["python", "train.py", "--depth", "5", "a b", "--rate", "0.1"]
    found = tracking.get_run(clone.run.id)
    assert (found.run.status, found.run.name) == ("scheduled", "deeper")
    assert found.params == clone.params == {"depth": "5", "rate": "0.1"}
    assert found.tags == {
        "team": "ads",
        "mainspring.cloned_from": run,
        "mainspring.command": "python train.py --depth 5 'a b' --rate 0.1",
    }
    assert (found.metrics, found.inputs) == ({}, [DatasetInput("dataset:trips@1")])
    assert tracking.resume_run(clone.run.id).status == "running"


@pytest.mark.parametrize(
    ("words", "edited"),
    [
        ("t.py --depth 3", "t.py --depth 5"),
        ("t.py --depth=3 --x", "t.py --depth=5 --x"),
        ("t.py depth=3", "t.py depth=5"),
        ("t.py", "t.py --depth 5"),
        ("t.py --depth 4", "t.py --depth 4 --depth 5"),
    ],
)
def test_a_command_names_the_edited_value_where_it_had_the_old_one(words: str, edited: str) -> None:
    assert command_with({"mainspring.command": words}, {"depth": "3"}, {"depth": "5"}) == edited.split()


def test_a_script_is_a_command_and_anything_else_is_none() -> None:
    assert command_with({"mlflow.source.name": "a/train.py"}, {}, {}) == ["python", "a/train.py"]
    assert command_with({"mlflow.source.name": "notebook"}, {}, {}) is None
    assert command_with({"mainspring.command": "a 'cut"}, {}, {}) is None


def test_a_run_goes_back_to_a_step_with_its_latest_points(editor: RunEditor, tracking: Tracking, run: str) -> None:
    assert editor.rewind_run(run, 79) == Corrected(run, 30, 2, ["late"])
    assert tracking.get_run(run).metrics["loss"] == Metric("loss", 1.0 - 79 / 100, 79, 790)
    assert set(tracking.get_run(run).metrics) == {"loss", "odd"}
    assert editor.rewind_run(run, 79) == Corrected(run, 0, 0)
    tracking.log_metric(run, "loss", 0.5, 80)
    assert tracking.metric_history(run, "loss").steps == list(range(81))
    with tracking.database.read() as connection:
        told = [event for event in latest_events(connection, ref=f"run:{run}") if event.kind == "MetricPointsDeleted"]
    assert [event.body["points"] for event in told] == [30]


def test_points_of_one_metric_are_deleted_and_the_others_stay(editor: RunEditor, tracking: Tracking, run: str) -> None:
    assert editor.delete_metric_points(run, "loss", 9) == Corrected(run, 90, 1)
    assert tracking.get_run(run).metrics["loss"].step == 9
    assert len(tracking.metric_history(run, "late").values) == 10
    assert editor.delete_metric_points(run, "loss", -1) == Corrected(run, 10, 1, ["loss"])
    assert editor.delete_metric_points(run, "nothing", 0) == Corrected(run, 0, 0)
    assert [one.run.id for one in tracking.search_runs(where="metrics.loss < 10").runs] == []


def test_one_metric_is_read_against_another_where_both_were_measured(
    editor: RunEditor, tracking: Tracking, run: str
) -> None:
    epochs = [Metric("epoch", float(step // 10), step, 1) for step in range(0, 100, 5)]
    tracking.log_batch(run, [*epochs, Metric("epoch", 99.0, 10, 2)])
    found = editor.join_metrics(run, "loss", x="epoch", limit=3)
    assert (found.steps, found.x, found.y) == ([0, 5, 10], [0.0, 0.0, 99.0], [1.0, 0.95, 0.9])
    rest = editor.join_metrics(run, "loss", x="epoch", after_step=found.next_step)
    assert (rest.steps, rest.next_step) == (list(range(15, 100, 5)), None)
    assert editor.join_metrics(run, "odd", x="loss").y == ["nan"]
    assert editor.join_metrics(run, "loss", x="nothing").steps == []


def test_a_join_of_more_points_than_can_be_held_goes_on_page_by_page(
    editor: RunEditor, tracking: Tracking, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking.log_batch(run, [Metric("twice", float(step), step, at) for step in range(0, 100, 3) for at in (1, 2)])
    monkeypatch.setattr(joining, "_MAX_READ", 7)
    steps: list[int] = []
    after, pages = None, 0
    while pages == 0 or after is not None:
        page = editor.join_metrics(run, "loss", x="twice", after_step=after)
        assert page.x == [float(step) for step in page.steps]
        steps, after, pages = steps + page.steps, page.next_step, pages + 1
    assert (steps, pages > 10) == (list(range(0, 100, 3)), True)


def test_what_is_not_there_deleted_or_too_large_is_refused(editor: RunEditor, tracking: Tracking, run: str) -> None:
    for ask in (
        lambda id: editor.fork_run(id, 1),
        lambda id: editor.clone_run(id),
        lambda id: editor.rewind_run(id, 1),
        lambda id: editor.delete_metric_points(id, "loss", 1),
    ):
        with pytest.raises(NotFound):
            ask("nobody")
    with pytest.raises(NotFound):
        editor.join_metrics("nobody", "a", "b")
    with pytest.raises(InvalidRequest):
        editor.rewind_run(run, 2**63)
    tracking.lifecycle.delete(run)
    for ask in (lambda id: editor.fork_run(id, 1), lambda id: editor.rewind_run(id, 1)):
        with pytest.raises(Conflict, match="deleted"):
            ask(run)
