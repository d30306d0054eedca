"""Experiments in folders: found, renamed, moved, marked, deleted and restored by their names."""

from __future__ import annotations

from typing import Any

import pytest

from mainspring.core.clock import ManualClock
from mainspring.core.errors import AlreadyExists, Conflict, InvalidRequest, NotFound
from mainspring.storage.sql.journal import latest_events
from mainspring.tracking.model import Run
from mainspring.tracking.organising.experiments import ExperimentOrganiser
from mainspring.tracking.organising.model import Folder
from mainspring.tracking.service import Tracking

NAMES = ("team/churn/a", "team/churn/b", "team/spam", "teams/x", "other")


@pytest.fixture
def named(tracking: Tracking) -> None:
    for name in NAMES:
        tracking.create_experiment(name)


def found(experiments: ExperimentOrganiser, **asked: Any) -> set[str]:
    return {one.name for one in experiments.search_experiments(**asked).experiments} - {"Default"}


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize("under", ["team", "team/", "/team/"])
def test_a_folder_holds_what_lies_below_it_and_nothing_that_only_begins_like_it(
    experiments: ExperimentOrganiser, under: str
) -> None:
    assert found(experiments, under=under) == {"team/churn/a", "team/churn/b", "team/spam"}


@pytest.mark.usefixtures("named")
def test_folders_are_listed_level_by_level_with_what_is_in_use(experiments: ExperimentOrganiser) -> None:
    assert experiments.list_folders() == [Folder("team", 3), Folder("teams", 1)]
    experiments.delete_experiment("team/churn/b")
    assert experiments.list_folders("team/") == [Folder("team/churn", 1)]
    assert experiments.list_folders("team/churn") == []


@pytest.mark.usefixtures("named")
def test_pages_follow_each_other_within_a_folder(experiments: ExperimentOrganiser) -> None:
    first = experiments.search_experiments(under="team", order_by=["name"], limit=2)
    assert [one.name for one in first.experiments] == ["team/churn/a", "team/churn/b"]
    rest = experiments.search_experiments(under="team", order_by=["name"], limit=2, page=first.next_page)
    assert ([one.name for one in rest.experiments], rest.next_page) == (["team/spam"], None)


@pytest.mark.usefixtures("named")
def test_runs_are_searched_below_a_folder(tracking: Tracking) -> None:
    inside = [tracking.create_run(name).id for name in ("team/churn/a", "team/spam")]
    tracking.create_run("other")
    assert {one.run.id for one in tracking.search_runs(under="team/").runs} == set(inside)
    assert len(tracking.search_runs(under="team", experiments=["other"]).runs) == 3


@pytest.mark.usefixtures("named")
def test_a_folder_moves_whole_or_not_at_all(experiments: ExperimentOrganiser) -> None:
    experiments.delete_experiment("team/churn/b")
    moved = experiments.move_folder("team/churn", "archive/2026")
    assert [one.name for one in moved] == ["archive/2026/a", "archive/2026/b"]
    assert found(experiments, lifecycle="all") == {*NAMES[2:], "archive/2026/a", "archive/2026/b"}
    experiments.rename_experiment("other", "teams/a")
    with pytest.raises(AlreadyExists, match="teams/a"):
        experiments.move_folder("archive/2026", "teams")
    assert found(experiments, under="archive", lifecycle="all") == {"archive/2026/a", "archive/2026/b"}
    assert experiments.move_folder("nobody", "elsewhere") == []


@pytest.mark.parametrize(
    ("folder", "to"), [("team", "team"), ("team", "team/sub"), ("", "x"), ("team", "a b"), ("a", "")]
)
def test_a_folder_does_not_move_where_it_cannot_be(experiments: ExperimentOrganiser, folder: str, to: str) -> None:
    with pytest.raises(InvalidRequest):
        experiments.move_folder(folder, to)


def test_a_renamed_experiment_keeps_its_runs_and_a_name_is_given_once(
    experiments: ExperimentOrganiser, tracking: Tracking
) -> None:
    run: Run = tracking.create_run("a")
    tracking.create_experiment("b")
    assert experiments.rename_experiment("a", "team/a").name == "team/a"
    assert tracking.get_run(run.id).run.experiment == "team/a"
    with pytest.raises(AlreadyExists):
        experiments.rename_experiment("team/a", "b")
    with pytest.raises(NotFound):
        experiments.rename_experiment("a", "c")
    with pytest.raises(InvalidRequest):
        experiments.rename_experiment("b", "../b")


def test_what_is_deleted_can_be_listed_and_comes_back_with_its_runs(
    experiments: ExperimentOrganiser, tracking: Tracking, clock: ManualClock
) -> None:
    run = tracking.create_run("a").id
    for _ in range(2):
        assert experiments.delete_experiment("a").deleted == clock.now()
    assert found(experiments) == set()
    assert found(experiments, lifecycle="deleted") == {"a"}
    assert [one.run.id for one in tracking.search_runs(lifecycle="deleted").runs] == [run]
    with pytest.raises(Conflict):
        experiments.rename_experiment("a", "b")
    with pytest.raises(AlreadyExists, match=r"deleted state: restore it"):
        tracking.create_experiment("a")
    for _ in range(2):
        assert experiments.restore_experiment("a").deleted is None
    assert [one.run.id for one in tracking.search_runs().runs] == [run]
    with tracking.database.read() as connection:
        told = [event.kind for event in latest_events(connection, ref="experiment:a")]
    assert told.count("ExperimentDeleted") == told.count("ExperimentRestored") == 1


def test_what_is_archived_is_hidden_and_not_deleted(experiments: ExperimentOrganiser, tracking: Tracking) -> None:
    run = tracking.create_run("a").id
    tracking.create_experiment("b")
    experiments.archive_experiment("a")
    assert found(experiments) == {"b"}
    assert found(experiments, archived="only") == {"a"}
    assert found(experiments, archived="shown") == {"a", "b"}
    assert [one.run.id for one in tracking.search_runs(["a"]).runs] == [run]
    assert experiments.archive_experiment("a", archived=False).tags == {}
    assert found(experiments) == {"a", "b"}


def test_notes_and_stars_are_tags_that_every_client_sees(experiments: ExperimentOrganiser, tracking: Tracking) -> None:
    tracking.create_experiment("a")
    experiments.note_experiment("a", "# Why\nIt is *good*.")
    assert experiments.star_experiment("a").tags == {
        "mlflow.note.content": "# Why\nIt is *good*.",
        "mainspring.starred": "true",
    }
    assert found(experiments, where="tags.mainspring.starred = 'true'") == {"a"}
    experiments.star_experiment("a", starred=False)
    assert experiments.note_experiment("a", "").tags == {}
    experiments.delete_experiment("a")
    with pytest.raises(Conflict):
        experiments.star_experiment("a")
    with pytest.raises(NotFound):
        experiments.star_experiment("nobody")
