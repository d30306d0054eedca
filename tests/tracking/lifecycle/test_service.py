"""Runs as their clients drive them: any change at any time, deletion, and lineage of what they read and made."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mainspring.core.errors import Conflict, InvalidRequest, NotFound
from mainspring.storage.sql.journal import edges_up, latest_events
from mainspring.tracking.model import ForeignDataset, ModelLink, Run, RunDetails
from mainspring.tracking.search.filters import parse_filter
from mainspring.tracking.service import Tracking


def begun(tracking: Tracking, experiment: str, **given: Any) -> RunDetails:
    return tracking.database.carry_out(tracking.lifecycle.beginning(experiment, **given))


def changed(tracking: Tracking, run: str, **given: Any) -> Run:
    return tracking.database.carry_out(tracking.lifecycle.changing(run, **given))


@pytest.fixture
def run(tracking: Tracking) -> str:
    experiment = tracking.create_experiment("e")
    return str(begun(tracking, experiment.id, name="a").run.id)


def kinds(tracking: Tracking, run: str) -> list[str]:
    with tracking.database.read() as connection:
        return [event.kind for event in latest_events(connection, ref=f"run:{run}")]


def test_every_end_and_every_beginning_anew_is_told_once(tracking: Tracking, run: str) -> None:
    for status in ("scheduled", "running", "finished", "finished", "failed", "running"):
        changed(tracking, run, status=status)
    assert kinds(tracking, run) == ["RunResumed", "RunFinished", "RunFinished", "RunStarted"]
    assert tracking.get_run(run).run.ended is None


def test_a_run_that_waits_to_begin_can_end(tracking: Tracking, run: str) -> None:
    changed(tracking, run, status="scheduled")
    assert tracking.finish_run(run, "killed").status == "killed"


def test_a_deleted_run_comes_back_as_it_was(tracking: Tracking, run: str) -> None:
    tracking.log_metric(run, "m", 1)
    before = tracking.get_run(run)
    for _ in range(2):
        tracking.lifecycle.delete(run)
    assert tracking.get_run(run).run.deleted is not None
    with pytest.raises(Conflict):
        changed(tracking, run, name="b")
    for _ in range(2):
        tracking.lifecycle.restore(run)
    assert tracking.get_run(run) == before
    assert kinds(tracking, run)[:2] == ["RunRestored", "RunDeleted"]


def test_a_parent_that_is_no_run_is_left_out(tracking: Tracking, run: str) -> None:
    experiment = tracking.get_experiment("e").id
    assert begun(tracking, experiment, name="b", parent="nobody").run.parent is None
    assert begun(tracking, experiment, name="c", parent=run).run.parent == run


def test_what_a_run_read_and_made_is_in_its_lineage(tracking: Tracking, run: str) -> None:
    trips = ForeignDataset("trips", "d1", "local", "{}", context="training", tags={"k": "v"})
    tracking.lifecycle.log_inputs(run, [trips, trips], ["m-1"])
    tracking.lifecycle.log_inputs(run, [trips])
    tracking.lifecycle.log_outputs(run, [ModelLink("m-2", 3)])
    found = tracking.get_run(run)
    assert found.foreign_inputs == [trips]
    assert (found.models_read, found.models_made) == ([ModelLink("m-1")], [ModelLink("m-2", 3)])
    with tracking.database.read() as connection:
        assert [edge.source for edge in edges_up(connection, [f"run:{run}"])] == ["foreign_dataset:trips@d1"]
        assert [edge.source for edge in edges_up(connection, ["logged_model:m-2"])] == [f"run:{run}"]


def test_an_experiment_keeps_one_description_of_a_dataset(tracking: Tracking, run: str) -> None:
    experiment = tracking.get_experiment("e").id
    other = begun(tracking, experiment, name="b").run.id
    for id, context in ((run, "training"), (other, "test")):
        tracking.lifecycle.log_inputs(id, [ForeignDataset("trips", "d1", "local", "{}", context=context)])
    assert tracking.lifecycle.datasets([experiment]) == [
        (experiment, "trips", "d1", "test"),
        (experiment, "trips", "d1", "training"),
    ]
    assert tracking.lifecycle.datasets([]) == []


def test_a_search_sees_runs_in_use_deleted_or_both(tracking: Tracking, run: str) -> None:
    experiment = tracking.get_experiment("e").id
    gone = begun(tracking, experiment, name="gone").run.id
    tracking.lifecycle.delete(gone)

    def found(lifecycle: str) -> set[str]:
        rows, _ = tracking.lifecycle.search([experiment], parse_filter(""), lifecycle=lifecycle)  # type: ignore[arg-type]
        return {run.id for run in rows.runs}

    assert (found("active"), found("deleted"), found("all")) == ({run}, {gone}, {run, gone})


def test_a_list_in_a_tag_loses_nothing_to_those_who_add_at_once(tracking: Tracking, run: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda at: tracking.lifecycle.extend_tag(run, "models", {"at": at}), range(20)))
    kept = json.loads(tracking.get_run(run).tags["models"])
    assert sorted(one["at"] for one in kept) == list(range(20))
    tracking.set_tags(run, {"models": "none"})
    with pytest.raises(InvalidRequest, match="holds no list"):
        tracking.lifecycle.extend_tag(run, "models", {})


def test_what_is_not_there_is_said_so(tracking: Tracking) -> None:
    for ask in (
        lambda: begun(tracking, "nobody", name="a"),
        lambda: changed(tracking, "nobody", name="a"),
        lambda: tracking.lifecycle.delete("nobody"),
        lambda: tracking.lifecycle.restore("nobody"),
        lambda: tracking.lifecycle.log_outputs("nobody", []),
    ):
        with pytest.raises(NotFound):
            ask()
