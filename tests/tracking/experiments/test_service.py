"""Experiments by their ids: any name, deletion with the runs, and the one that is there from the start."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from mainspring.core.clock import ManualClock
from mainspring.core.errors import AlreadyExists, Conflict, InvalidRequest, NotFound
from mainspring.storage.sql.journal import latest_events
from mainspring.tracking.service import Tracking


def kinds(tracking: Tracking, ref: str) -> list[str]:
    with tracking.database.read() as connection:
        return [event.kind for event in latest_events(connection, ref=ref)]


def test_the_default_experiment_is_made_once_however_many_ask(tracking: Tracking) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: tracking.experiments.default(), range(16)))
    assert {(one.id, one.name) for one in found} == {("0", "Default")}
    assert kinds(tracking, "experiment:Default") == ["ExperimentCreated"]


def test_a_run_in_an_experiment_called_default_makes_the_default_one(tracking: Tracking) -> None:
    run = tracking.create_run("Default", "a")
    assert run.experiment_id == tracking.experiments.get("0").id == "0"


def test_our_own_lists_do_not_show_what_is_deleted(tracking: Tracking) -> None:
    kept, gone = tracking.create_experiment("kept"), tracking.create_experiment("gone")
    run = tracking.create_run("gone", "a")
    tracking.experiments.delete(gone.id)
    assert [one.name for one in tracking.list_experiments()] == [kept.name]
    assert tracking.search_runs(["gone"]).runs == []
    assert tracking.get_experiment("gone").deleted is not None
    assert tracking.get_run(run.id).run.deleted is not None


def test_nothing_is_written_to_a_deleted_experiment_or_its_runs(tracking: Tracking) -> None:
    experiment = tracking.create_experiment("gone")
    run = tracking.create_run("gone", "a")
    tracking.experiments.delete(experiment.id)
    for write in (
        lambda: tracking.create_run("gone", "b"),
        lambda: tracking.log_metric(run.id, "m", 1),
        lambda: tracking.finish_run(run.id),
        lambda: tracking.put_artifact(run.id, "a.txt", b"a"),
        lambda: tracking.experiments.set_tag(experiment.id, "k", "v"),
        lambda: tracking.experiments.rename(experiment.id, "other"),
    ):
        with pytest.raises(Conflict, match="must be in the 'active' state"):
            write()
    tracking.experiments.restore(experiment.id)
    tracking.log_metric(run.id, "m", 1)


def test_restoring_brings_back_the_runs_that_were_deleted_with_it(tracking: Tracking, clock: ManualClock) -> None:
    experiment = tracking.create_experiment("e")
    before, along = tracking.create_run("e", "before"), tracking.create_run("e", "along")
    tracking.lifecycle.delete(before.id)
    clock.advance(1)
    tracking.experiments.delete(experiment.id)
    tracking.experiments.restore(experiment.id)
    assert [found.run.id for found in tracking.search_runs(["e"]).runs] == [along.id]
    assert kinds(tracking, "experiment:e")[:2] == ["ExperimentRestored", "ExperimentDeleted"]


def test_a_new_name_is_drawn_from_the_old_one(tracking: Tracking) -> None:
    experiment = tracking.create_experiment("old")
    tracking.create_experiment("taken")
    assert tracking.experiments.rename(experiment.id, "new").name == "new"
    assert kinds(tracking, "experiment:old")[0] == kinds(tracking, "experiment:new")[0] == "ExperimentRenamed"
    with pytest.raises(AlreadyExists):
        tracking.experiments.rename(experiment.id, "taken")
    assert tracking.get_experiment("new").id == experiment.id


def test_what_is_not_there_is_said_so(tracking: Tracking) -> None:
    for ask in (
        lambda: tracking.experiments.get("nobody"),
        lambda: tracking.experiments.get_by_name("nobody"),
        lambda: tracking.experiments.get_by_name(""),
        lambda: tracking.experiments.delete("nobody"),
        lambda: tracking.experiments.restore("nobody"),
        lambda: tracking.experiments.rename("nobody", "n"),
    ):
        with pytest.raises(NotFound):
            ask()


@pytest.mark.parametrize("name", ["", "x" * 501, "a\0b"])
def test_a_name_that_cannot_be_kept_is_refused(tracking: Tracking, name: str) -> None:
    with pytest.raises(InvalidRequest):
        tracking.experiments.create(name)
