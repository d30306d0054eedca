"""What was deleted goes for good after its time, and nothing else does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Text, func, or_, select

from mainspring.core.clock import ManualClock
from mainspring.core.errors import AlreadyExists, Conflict, InvalidRequest, NotFound
from mainspring.registry.logged.service import LoggedModels
from mainspring.retention import service
from mainspring.retention.model import Garbage
from mainspring.retention.service import GarbageCollector
from mainspring.scorers.service import Scorers
from mainspring.storage.objects.drivers.local import LocalObjects
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import latest_events
from mainspring.storage.sql.schema import metadata
from mainspring.traces.model import Trace
from mainspring.traces.service import Traces
from mainspring.tracking.files.places import Place
from mainspring.tracking.model import ForeignDataset, Metric, ModelLink
from mainspring.tracking.organising.experiments import ExperimentOrganiser
from mainspring.tracking.organising.runs import RunOrganiser
from mainspring.tracking.search.filters import parse_filter
from mainspring.tracking.service import Tracking

DAY_S = 86_400.0
JOURNAL = {"events", "lineage", "event_refs"}


def full_run(tracking: Tracking, experiment: str, points: int = 3) -> str:
    """A run with something in every table that a run may have rows in."""
    run = tracking.create_run(experiment, params={"a": "1"}, tags={"b": "2"}, token=f"t{time.monotonic_ns()}").id
    tracking.log_batch(run, [Metric("loss", 0.1, step) for step in range(points)], writer="w", sequence=1)
    tracking.put_artifact(run, "a.txt", f"of {run}".encode())
    tracking.log_input(run, "dataset:trips@1")
    tracking.lifecycle.log_inputs(run, [ForeignDataset("trips", run, "local", "{}")], ["m-1"])
    tracking.lifecycle.log_outputs(run, [ModelLink("m-2", 3)])
    return str(run)


def named_in(database: Database, text: str) -> list[str]:
    """The tables, but for the journal, in which anything names *text*."""
    found = []
    with database.read() as connection:
        for table in metadata.sorted_tables:
            texts = [column for column in table.columns if isinstance(column.type, Text)]
            if table.name in JOURNAL or not texts:
                continue
            query = select(func.count()).select_from(table).where(or_(*(column.contains(text) for column in texts)))
            if connection.execute(query).scalar_one():
                found.append(table.name)
    return found


def collected(garbage: GarbageCollector, **asked: object) -> Garbage:
    return garbage.collect_garbage(**{"object_age": "0s", **asked})  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def old_objects(objects: LocalObjects, clock: ManualClock) -> Iterator[None]:
    # Their age is that of files, by the clock of the machine.
    clock.advance((time.time() + 60) - clock.now().timestamp())
    yield


def test_what_was_deleted_long_enough_ago_goes_and_the_rest_stays(
    garbage: GarbageCollector, tracking: Tracking, runs: RunOrganiser, clock: ManualClock
) -> None:
    old, young, used = (full_run(tracking, "e") for _ in range(3))
    runs.delete_run(old)
    clock.advance(31 * DAY_S)
    runs.delete_run(young)
    before = [tracking.get_run(run) for run in (young, used)]
    found = collected(garbage)
    assert (found.runs, found.metric_points, found.objects, found.finished) == (1, 3, 1, True)
    assert [tracking.get_run(run) for run in (young, used)] == before
    assert len(tracking.metric_history(young, "loss").values) == 3
    assert tracking.read_artifact(used, "a.txt") == f"of {used}".encode()
    with pytest.raises(NotFound):
        tracking.get_run(old)
    assert set(named_in(tracking.database, old)) <= {"foreign_datasets"}  # It belongs to the experiment.
    with tracking.database.read() as connection:
        assert latest_events(connection, ref=f"run:{old}")[0].kind == "RunsCollected"


def test_a_dry_run_counts_what_the_next_one_removes_and_changes_nothing(
    garbage: GarbageCollector,
    tracking: Tracking,
    experiments: ExperimentOrganiser,
    runs: RunOrganiser,
    objects: LocalObjects,
) -> None:
    run, *_ = (full_run(tracking, "e") for _ in range(3))
    full_run(tracking, "f")
    runs.delete_run(run)
    experiments.delete_experiment("f")
    objects.put_bytes(b"nobody's")
    before = tracking.lifecycle.search([tracking.get_experiment("e").id], parse_filter(""), lifecycle="all")
    planned = collected(garbage, older_than="0s", dry_run=True)
    assert (planned.experiments, planned.runs, planned.metric_points, planned.objects) == (1, 2, 6, 3)
    assert planned.object_bytes == 2 * len(f"of {run}") + len("nobody's")
    after = tracking.lifecycle.search([tracking.get_experiment("e").id], parse_filter(""), lifecycle="all")
    assert after == before
    done = collected(garbage, older_than="0s")
    for name in ("experiments", "runs", "metric_points", "other_rows", "objects", "object_bytes"):
        assert getattr(done, name) == getattr(planned, name), name
    assert collected(garbage, older_than="0s", dry_run=True) == Garbage(dry_run=True)


def test_an_experiment_goes_with_all_that_is_in_it_and_its_name_is_free(
    garbage: GarbageCollector, tracking: Tracking, experiments: ExperimentOrganiser, objects: LocalObjects
) -> None:
    run = full_run(tracking, "e")
    experiment = tracking.tag_experiment("e", {"k": "v"}).id
    model = LoggedModels(tracking.database).create(experiment, "m", run=run, params={"p": "1"}, tags={"t": "1"})
    traces = Traces(tracking.database)
    traces.put_trace(Trace("tr-1", experiment, 1_000, tags={"a": "b"}), run=run)
    for place in (Place("model", model.id), Place("trace", "tr-1")):
        tracking.files.put(place, "f", objects.put_bytes(place.owner.encode()))
    Scorers(tracking.database, lambda id: id).register(experiment, "polite", "{}")
    full_run(tracking, "other")
    experiments.delete_experiment("e")
    with pytest.raises(AlreadyExists, match="mainspring gc"):
        tracking.create_experiment("e")
    found = collected(garbage, experiments=["e"])
    assert (found.experiments, found.runs, found.logged_models, found.traces) == (1, 1, 1, 1)
    assert found.objects == 3
    for id in (experiment, run, model.id, "tr-1"):
        assert named_in(tracking.database, id) == []
    assert tracking.create_experiment("e").id != experiment
    assert len(tracking.search_runs(["other"]).runs) == 1
    with tracking.database.read() as connection:
        assert latest_events(connection, ref="experiment:e")[1].kind == "ExperimentCollected"


def test_what_is_named_goes_at_once_and_only_that(
    garbage: GarbageCollector, tracking: Tracking, runs: RunOrganiser, experiments: ExperimentOrganiser
) -> None:
    first, second = full_run(tracking, "e"), full_run(tracking, "e")
    for run in (first, second):
        runs.delete_run(run)
    full_run(tracking, "f")
    experiments.delete_experiment("f")
    assert collected(garbage, runs=[first]).runs == 1
    assert tracking.get_run(second).run.deleted is not None
    assert (found := collected(garbage, experiments=["f"])).experiments == found.runs == 1
    assert collected(garbage, experiments=[], runs=[]) == Garbage(dry_run=False)
    assert runs.restore_run(second).deleted is None


def test_what_is_in_use_or_not_there_is_refused_and_nothing_goes(
    garbage: GarbageCollector, tracking: Tracking, runs: RunOrganiser
) -> None:
    used, deleted = full_run(tracking, "e"), full_run(tracking, "e")
    runs.delete_run(deleted)
    for asked in ({"runs": [deleted, used]}, {"experiments": ["e"]}):
        with pytest.raises(Conflict, match="delete it first"):
            collected(garbage, **asked)
    for asked in ({"runs": ["nobody"]}, {"experiments": ["nobody"]}):
        with pytest.raises(NotFound, match="nobody"):
            collected(garbage, **asked)
    for wrong in ({"older_than": "soon"}, {"object_age": "-1d"}, {"runs": ["x"] * 1_001}):
        with pytest.raises(InvalidRequest):
            collected(garbage, **wrong)
    assert tracking.get_run(deleted).run.deleted is not None


def test_what_was_begun_is_out_of_sight_and_finished_by_the_next_one(
    garbage: GarbageCollector,
    tracking: Tracking,
    runs: RunOrganiser,
    experiments: ExperimentOrganiser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "_ROWS_AT_ONCE", 2)
    run, of_experiment = full_run(tracking, "e", points=20), full_run(tracking, "f", points=20)
    experiment = tracking.get_experiment("f").id
    runs.delete_run(run)
    experiments.delete_experiment("f")
    first = collected(garbage, older_than="0s", budget_s=0)
    assert not first.finished
    for id in (run, of_experiment):
        with pytest.raises(NotFound):
            tracking.get_run(id)
        with pytest.raises(NotFound):
            runs.restore_run(id)
        assert tracking.search_runs(lifecycle="all", archived="shown").runs == []
    with pytest.raises(NotFound):
        tracking.experiments.get(experiment)
    with pytest.raises(NotFound):
        tracking.experiments.restore(experiment)
    assert {one.name for one in experiments.search_experiments(lifecycle="all").experiments} == {"e", "Default"}
    assert tracking.create_experiment("f").id != experiment
    total = first
    while not total.finished:
        total += collected(garbage, experiments=[], runs=[], budget_s=0)
    assert (total.runs, total.experiments, total.metric_points) == (2, 1, 40)
    for id in (run, of_experiment, experiment):
        assert set(named_in(tracking.database, id)) <= {"foreign_datasets"}


def test_no_transaction_removes_more_than_some_rows(
    garbage: GarbageCollector, tracking: Tracking, runs: RunOrganiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_ROWS_AT_ONCE", 7)
    run = full_run(tracking, "e", points=50)
    runs.delete_run(run)
    steps = []
    monkeypatch.setattr(Garbage, "__add__", lambda mine, step: (steps.append(step), mine)[1])
    collected(garbage, older_than="0s")
    assert max(step.metric_points + step.other_rows for step in steps) == 7
    assert sum(step.metric_points for step in steps) == 50


def test_the_part_of_a_run_that_went_has_no_parent(
    garbage: GarbageCollector, tracking: Tracking, runs: RunOrganiser
) -> None:
    parent = tracking.create_run("e").id
    child = tracking.create_run("e", parent=parent).id
    runs.delete_run(parent)
    collected(garbage, runs=[parent])
    assert tracking.get_run(child).run.parent is None


def test_the_default_experiment_stays_and_its_deleted_runs_go(
    garbage: GarbageCollector, tracking: Tracking, experiments: ExperimentOrganiser
) -> None:
    tracking.experiments.default()
    full_run(tracking, "Default")
    experiments.delete_experiment("Default")
    assert (found := collected(garbage, older_than="0s")).runs == 1
    assert found.experiments == 0
    assert experiments.restore_experiment("Default").id == "0"


def test_an_experiment_that_was_restored_meanwhile_stays(
    garbage: GarbageCollector, tracking: Tracking, experiments: ExperimentOrganiser, clock: ManualClock
) -> None:
    run = full_run(tracking, "e")
    experiments.delete_experiment("e")
    clock.advance(40 * DAY_S)
    experiments.restore_experiment("e")
    assert collected(garbage) == Garbage(dry_run=False)
    assert tracking.get_run(run).run.deleted is None


def test_others_write_while_much_is_removed(garbage: GarbageCollector, tracking: Tracking, runs: RunOrganiser) -> None:
    run, used = tracking.create_run("e").id, tracking.create_run("e").id
    for start in range(0, 30_000, 1_000):
        tracking.log_batch(run, [Metric("loss", 0.1, start + step) for step in range(1_000)])
    runs.delete_run(run)
    waits = []
    with ThreadPoolExecutor(1) as pool:
        collecting = pool.submit(collected, garbage, older_than="0s")
        while not collecting.done():
            started = time.monotonic()
            tracking.log_metric(used, "m", 1.0, len(waits))
            waits.append(time.monotonic() - started)
        assert collecting.result().metric_points == 30_000
    assert len(waits) > 15
    assert sorted(waits)[len(waits) * 9 // 10] < 0.5


def test_one_collection_at_a_time(garbage: GarbageCollector) -> None:
    with garbage._turn, pytest.raises(Conflict, match="another collection"):
        collected(garbage)
    collected(garbage)


def test_the_space_of_the_database_is_given_back(
    garbage: GarbageCollector, tracking: Tracking, runs: RunOrganiser, place: str, database_url: str
) -> None:
    run = tracking.create_run("e").id
    for start in range(0, 20_000, 1_000):
        tracking.log_batch(run, [Metric("loss", 0.1, start + step) for step in range(1_000)])
    runs.delete_run(run)
    found = collected(garbage, older_than="0s")
    if place == "postgresql":
        return  # It gives back what lies at the end of a table; how much that is is its own affair.
    assert found.database_bytes > 400_000
    assert Path(database_url.removeprefix("sqlite:///")).stat().st_size < 1_000_000
