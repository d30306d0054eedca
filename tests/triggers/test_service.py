import subprocess
import sys
import textwrap
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from mainspring.core.actor import acting_as
from mainspring.core.clock import ManualClock
from mainspring.core.errors import Conflict, InvalidRequest, NotFound, Unavailable
from mainspring.monitoring.model import Settings, Windows
from mainspring.monitoring.service import Monitoring
from mainspring.pipelines.model import Job, Pipeline, Step
from mainspring.pipelines.service import Pipelines
from mainspring.predictions.log import PredictionLog
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import edges_up, read_events
from mainspring.storage.tables.store import open_tables
from mainspring.triggers.model import DriftRule, Policy, ScheduleRule, VolumeRule
from mainspring.triggers.service import Triggers
from tests.monitoring.traffic import INFO, Traffic

PIPELINE = Pipeline("turn", [Step(name="train", function="json:dumps")])


@pytest.fixture
def log(database: Database, tmp_path: Path) -> PredictionLog:
    return PredictionLog(open_tables(f"file://{tmp_path / 'tables'}"), database, tmp_path / "spool")


@pytest.fixture
def traffic(tmp_path: Path) -> Traffic:
    return Traffic(tmp_path / "spool")


@pytest.fixture
def monitoring(database: Database, log: PredictionLog, traffic: Traffic) -> Monitoring:
    monitoring = Monitoring(database, log)
    monitoring.set_reference(
        "churn",
        "release:churn@1",
        traffic.frame(2000),
        info=INFO,
        dataset="dataset:customers@1",
        settings=Settings(windows=Windows(rows=200)),
    )
    return monitoring


@pytest.fixture
def jobs(database: Database) -> Pipelines:
    return Pipelines(database)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def triggers(
    database: Database,
    jobs: Pipelines,
    monitoring: Monitoring,
    log: PredictionLog,
    clock: ManualClock,
    reached: Callable[[Triggers], Triggers],
) -> Triggers:
    return reached(Triggers(database, jobs, monitoring, log, clock=clock))


def serve(traffic: Traffic, log: PredictionLog, monitoring: Monitoring, rows: int, shift: float) -> None:
    traffic.serve(rows, shift=shift)
    log.ingest()
    monitoring.advance("churn")


def test_drift_starts_the_pipeline_with_its_evidence(
    triggers: Triggers, jobs: Pipelines, traffic: Traffic, log: PredictionLog, monitoring: Monitoring
):
    triggers.set_policy("churn", Policy(pipeline=PIPELINE, parameters={"name": "churn"}))
    serve(traffic, log, monitoring, 200, 0.0)
    assert triggers.evaluate("churn").reason == "no rule holds"
    serve(traffic, log, monitoring, 400, 1.0)
    firing = triggers.evaluate("churn").firing
    assert firing is not None
    assert (firing.trigger, firing.status) == ("drift", "started")
    assert firing.evidence.alarms[0] in {alarm.ref for alarm in monitoring.alarms("churn")}
    (job,) = jobs.list()
    assert (job.ref, job.parameters) == (firing.job, {"name": "churn", "firing": firing.id})


def test_nothing_fires_while_the_job_runs_nor_while_it_cools_down(
    triggers: Triggers, jobs: Pipelines, traffic: Traffic, log: PredictionLog, monitoring: Monitoring
):
    triggers.set_policy("churn", Policy(pipeline=PIPELINE, cooldown_windows=2, drift=DriftRule(least=1, of=1)))
    serve(traffic, log, monitoring, 200, 1.0)
    assert triggers.evaluate("churn").firing is not None
    serve(traffic, log, monitoring, 200, 1.0)
    assert "still runs" in triggers.evaluate("churn").reason
    jobs.cancel(jobs.list()[0].id)
    assert "cooling down: 1 of 2 windows" in triggers.evaluate("churn").reason
    serve(traffic, log, monitoring, 200, 1.0)
    assert triggers.evaluate("churn").firing is not None
    assert len(jobs.list()) == 2


def test_an_endpoint_on_hold_waits(database: Database, jobs: Pipelines, monitoring: Monitoring, log: PredictionLog):
    triggers = Triggers(database, jobs, monitoring, log, hold=lambda endpoint: f"a rollout of {endpoint} runs")
    triggers.set_policy("churn", Policy(pipeline=PIPELINE, schedule=ScheduleRule(every_s=0)))
    assert triggers.evaluate("churn").reason == "a rollout of churn runs"


def test_a_schedule_fires_each_time_its_interval_has_passed(triggers: Triggers, jobs: Pipelines, clock: ManualClock):
    triggers.set_policy("churn", Policy(pipeline=PIPELINE, schedule=ScheduleRule(every_s=3600), cooldown_windows=0))
    assert triggers.tick()[0].firing is None
    for fired in (1, 2):
        clock.advance(3600)
        outcome = triggers.tick()[0]
        assert outcome.firing is not None
        assert outcome.firing.trigger == "schedule"
        jobs.cancel(jobs.list()[0].id)
        assert len(triggers.firings("churn")) == fired


def test_what_is_wrong_with_one_endpoint_is_told_and_does_not_hold_up_the_others(
    triggers: Triggers, monitoring: Monitoring, database: Database, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):  # fmt: skip
    rule = ScheduleRule(every_s=0)
    for endpoint in ("a-broken", "b-broken", "churn"):
        triggers.set_policy(endpoint, Policy(pipeline=PIPELINE, schedule=rule, cooldown_windows=0))
    broken: dict[str, Exception] = {"a-broken": Unavailable("the log is away"), "b-broken": KeyError("mark")}
    look = monitoring.windows

    def windows(endpoint: str, **given: object) -> object:
        if endpoint in broken:
            raise broken[endpoint]
        return look(endpoint, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(monitoring, "windows", windows)
    for _ in range(2):
        told = {outcome.endpoint: outcome.error for outcome in triggers.tick()}
        assert told == {"churn": None, "a-broken": "the log is away", "b-broken": "KeyError: 'mark'"}
    assert len(triggers.firings("churn")) == 1
    assert "triggers of a-broken: the log is away" in caplog.text
    broken["a-broken"] = Unavailable("the disk is full")
    triggers.tick()
    with database.read() as connection:
        failed = [e.body for e in read_events(connection) if e.kind == "EvaluationFailed"]
    assert [body["error"] for body in failed] == ["the log is away", "KeyError: 'mark'", "the disk is full"]
    broken.clear()
    assert {outcome.error for outcome in triggers.tick()} == {None}


def test_a_firing_that_cannot_be_started_does_not_hold_up_the_others(
    database: Database, jobs: Pipelines, monitoring: Monitoring, log: PredictionLog, triggers: Triggers
):
    broken = Triggers(database, Broken(database), monitoring, log)
    for endpoint in ("a", "churn"):
        broken.set_policy(endpoint, Policy(pipeline=PIPELINE))
        broken.fire(endpoint, "now")

    class Picky(Pipelines):
        asked = 0

        def start(self, pipeline: Pipeline, parameters: object = None, token: str | None = None) -> Job:
            self.asked += 1
            if self.asked == 1:
                raise RuntimeError("the first one breaks")
            return jobs.start(pipeline, {}, token)

    started = Triggers(database, Picky(database), monitoring, log).drive()
    assert [(firing.endpoint, firing.status) for firing in started] == [("churn", "started")]


def test_a_replay_says_what_time_it_is(triggers: Triggers, clock: ManualClock):
    triggers.set_policy("churn", Policy(pipeline=PIPELINE, schedule=ScheduleRule(every_s=3600)))
    assert triggers.evaluate("churn", now=clock.now() + timedelta(hours=2)).firing is not None


def test_volume_counts_from_the_last_firing(triggers: Triggers, jobs: Pipelines, traffic: Traffic, log: PredictionLog):
    triggers.set_policy("churn", Policy(pipeline=PIPELINE, volume=VolumeRule(labels=100), cooldown_windows=0))
    traffic.serve(99)
    log.ingest()
    assert triggers.evaluate("churn").firing is None
    traffic.serve(10)
    log.ingest()
    outcome = triggers.evaluate("churn")
    assert outcome.firing is not None
    assert outcome.firing.evidence.labels == 109
    jobs.cancel(jobs.list()[0].id)
    assert triggers.evaluate("churn").reason == "no rule holds"


def test_a_firing_that_needs_approval_starts_only_when_somebody_approves(triggers: Triggers, jobs: Pipelines):
    rule = ScheduleRule(every_s=0)
    triggers.set_policy("churn", Policy(pipeline=PIPELINE, schedule=rule, require_approval=True, cooldown_windows=0))
    firing = triggers.evaluate("churn").firing
    assert firing is not None
    assert (firing.status, jobs.list()) == ("pending", [])
    assert "waits for approval" in triggers.evaluate("churn").reason
    with acting_as("ada", "http"):
        approved = triggers.approve(firing.id)
    assert (approved.status, approved.decided_by, len(jobs.list())) == ("started", "ada", 1)
    assert triggers.approve(firing.id) == approved
    with pytest.raises(Conflict, match="started"):
        triggers.reject(firing.id)


def test_a_rejected_firing_never_starts(triggers: Triggers, jobs: Pipelines):
    rule = ScheduleRule(every_s=0)
    triggers.set_policy("churn", Policy(pipeline=PIPELINE, schedule=rule, require_approval=True))
    firing = triggers.evaluate("churn").firing
    assert firing is not None
    with acting_as("ada", "http"):
        rejected = triggers.reject(firing.id, "holidays")
    assert (rejected.status, rejected.decided_by, rejected.note) == ("rejected", "ada", "holidays")
    with pytest.raises(Conflict, match="rejected by ada"):
        triggers.approve(firing.id)
    assert triggers.drive() == []
    assert jobs.list() == []


def test_a_person_may_fire_at_any_time_but_once_for_each_token(triggers: Triggers, jobs: Pipelines):
    triggers.set_policy("churn", Policy(pipeline=PIPELINE, cooldown_s=1e6))
    first = triggers.fire("churn", "new price list", token="t1")
    assert triggers.fire("churn", "new price list", token="t1") == first
    assert (first.trigger, first.evidence.reasons) == ("manual", ["new price list"])
    assert triggers.fire("churn", "again").id != first.id
    assert len(jobs.list()) == 2


def test_a_start_is_neither_lost_nor_doubled_when_the_process_dies(
    triggers: Triggers, jobs: Pipelines, database_url: str, tmp_path: Path
):
    triggers.set_policy("churn", Policy(pipeline=PIPELINE))
    for moment in ("before", "after"):
        dying = f"""
            import os, signal
            from mainspring.monitoring.service import Monitoring
            from mainspring.pipelines.service import Pipelines
            from mainspring.predictions.log import PredictionLog
            from mainspring.storage.sql.database import open_database
            from mainspring.storage.tables.store import open_tables
            from mainspring.triggers.service import Triggers

            class Dying(Pipelines):
                def start(self, *given):
                    if {moment!r} == "after":
                        super().start(*given)
                    os.kill(os.getpid(), signal.SIGKILL)

            database = open_database({database_url!r})
            log = PredictionLog(open_tables("file://{tmp_path}/tables"), database, "{tmp_path}/spool")
            Triggers(database, Dying(database), Monitoring(database, log), log).fire("churn", {moment!r})
        """
        assert subprocess.run([sys.executable, "-c", textwrap.dedent(dying)], check=False).returncode == -9
    assert len(jobs.list()) == 1
    assert [firing.status for firing in triggers.drive()] == ["started", "started"]
    assert len(jobs.list()) == 2
    assert triggers.drive() == []


class Broken(Pipelines):
    error: Exception = Unavailable("the database is locked")

    def start(self, *given: object, **named: object) -> Job:
        raise self.error


def test_a_start_that_fails_for_now_is_tried_again(
    database: Database, jobs: Pipelines, monitoring: Monitoring, log: PredictionLog, triggers: Triggers
):
    broken = Triggers(database, Broken(database), monitoring, log)
    broken.set_policy("churn", Policy(pipeline=PIPELINE))
    assert broken.fire("churn", "now").status == "due"
    assert triggers.drive()[0].status == "started"


def test_a_start_that_cannot_succeed_is_recorded_with_its_reason(triggers: Triggers):
    triggers.set_policy(
        "churn", Policy(pipeline=Pipeline("loop", [Step(name="a", function="json:dumps", needs=["b"])]))
    )
    firing = triggers.fire("churn", "now")
    assert firing.status == "failed"
    assert firing.note
    assert triggers.drive() == []


def test_the_line_goes_from_the_job_back_to_the_dataset(
    triggers: Triggers, traffic: Traffic, log: PredictionLog, monitoring: Monitoring, database: Database
):
    triggers.set_policy("churn", Policy(pipeline=PIPELINE))
    serve(traffic, log, monitoring, 400, 1.0)
    with database.read() as connection:
        checked = read_events(connection, kinds=["WindowChecked"])[-1]
    triggers.on_event(checked)
    triggers.on_event(checked)
    (firing,) = triggers.firings("churn")
    border, reached = [firing.job or ""], set()
    with database.read() as connection:
        while border:
            border = [edge.source for edge in edges_up(connection, border)]
            reached.update(border)
    assert {firing.ref, firing.evidence.alarms[0], "dataset:customers@1"} <= reached


def test_an_endpoint_without_policy_says_what_to_do(triggers: Triggers):
    with pytest.raises(NotFound, match="set one"):
        triggers.evaluate("churn")
    with pytest.raises(InvalidRequest, match="makes no sense"):
        DriftRule(least=4, of=3)
