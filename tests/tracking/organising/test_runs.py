"""Runs in order: names, groups, notes, stars, what is archived, what is deleted."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from mainspring.core.clock import ManualClock
from mainspring.core.errors import Conflict, InvalidRequest, NotFound
from mainspring.storage.sql.database import Database
from mainspring.tracking.organising import store
from mainspring.tracking.organising.experiments import ExperimentOrganiser
from mainspring.tracking.organising.model import RunGroup
from mainspring.tracking.organising.runs import RunOrganiser
from mainspring.tracking.service import Tracking
from mainspring.tracking.store import select_runs


@pytest.fixture
def run(tracking: Tracking) -> str:
    return str(tracking.create_run("e", "first").id)


def found(tracking: Tracking, **asked: Any) -> set[str]:
    return {one.run.id for one in tracking.search_runs(**asked).runs}


def test_a_run_has_its_new_name_for_every_client(runs: RunOrganiser, tracking: Tracking, run: str) -> None:
    assert runs.rename_run(run, "second").name == "second"
    assert tracking.get_run(run).tags["mlflow.runName"] == "second"
    with pytest.raises(InvalidRequest):
        runs.rename_run(run, " ")


def test_a_deleted_run_is_listed_among_the_deleted_and_comes_back(
    runs: RunOrganiser, tracking: Tracking, run: str, clock: ManualClock
) -> None:
    for _ in range(2):
        assert runs.delete_run(run).deleted == clock.now()
    assert (found(tracking), found(tracking, lifecycle="deleted"), found(tracking, lifecycle="all")) == (
        set(),
        {run},
        {run},
    )
    with pytest.raises(Conflict, match="deleted"):
        runs.rename_run(run, "b")
    for _ in range(2):
        assert runs.restore_run(run).deleted is None
    assert found(tracking) == {run}


def test_a_run_of_a_deleted_experiment_is_not_restored_alone(
    runs: RunOrganiser, experiments: ExperimentOrganiser, run: str
) -> None:
    experiments.delete_experiment("e")
    with pytest.raises(Conflict, match="restore it first"):
        runs.restore_run(run)


def test_groups_are_counted_and_searched(runs: RunOrganiser, tracking: Tracking, run: str) -> None:
    others = [tracking.create_run("e").id for _ in range(2)]
    elsewhere = tracking.create_run("f").id
    for one in (run, *others, elsewhere):
        runs.group_run(one, "sweep 7")
    runs.delete_run(others[0])
    assert runs.list_groups() == [RunGroup("sweep 7", "e", 2), RunGroup("sweep 7", "f", 1)]
    assert runs.list_groups(["f"]) == [RunGroup("sweep 7", "f", 1)]
    assert found(tracking, where="group = 'sweep 7'", experiments=["e"]) == {run, others[1]}
    runs.group_run(run)
    assert found(tracking, where="group IS NULL") == {run}


def test_archived_runs_are_hidden_and_not_deleted(runs: RunOrganiser, tracking: Tracking, run: str) -> None:
    other = tracking.create_run("e").id
    runs.archive_run(run)
    assert found(tracking) == {other}
    assert found(tracking, archived="only") == {run}
    assert found(tracking, archived="shown") == {run, other}
    assert found(tracking, where="archived IS NOT NULL", archived="shown") == {run}
    assert tracking.get_run(run).run.deleted is None
    runs.archive_run(run, archived=False)
    assert found(tracking) == {run, other}


def test_notes_and_stars_are_tags_that_every_client_sees(runs: RunOrganiser, tracking: Tracking, run: str) -> None:
    runs.note_run(run, "**good**")
    runs.star_run(run)
    assert tracking.get_run(run).tags == {"mlflow.note.content": "**good**", "mainspring.starred": "true"}
    assert found(tracking, where="starred = 'true' and note LIKE '%good%'") == {run}
    runs.star_run(run, starred=False)
    runs.note_run(run, "")
    assert tracking.get_run(run).tags == {}


def test_what_is_not_there_is_said_so(runs: RunOrganiser) -> None:
    for ask in (runs.delete_run, runs.restore_run, runs.archive_run, runs.star_run, runs.group_run):
        with pytest.raises(NotFound):
            ask("nobody")


def test_hiding_what_is_archived_reads_only_the_archived(database: Database) -> None:
    query = select_runs().where(store.shown_runs("hidden"))
    with database.read() as connection:
        if connection.dialect.name != "sqlite":
            connection.execute(text("SET LOCAL enable_seqscan = off"))
        written = str(query.compile(connection.engine, compile_kwargs={"literal_binds": True}))
        explain = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
        plan = "\n".join(str(row) for row in connection.exec_driver_sql(explain + written))
    assert "ix_run_tags_archived" in plan
