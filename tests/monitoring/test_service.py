from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mainspring.core.errors import Conflict, InvalidData, NotFound
from mainspring.monitoring.answers import logged_truth
from mainspring.monitoring.learning import Scored
from mainspring.monitoring.model import Budget, Reference, Settings, WindowReport, Windows
from mainspring.monitoring.service import Monitoring
from mainspring.predictions.log import PredictionLog
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import edges_up, read_events
from mainspring.storage.tables.store import open_tables
from tests.monitoring.traffic import INFO, Traffic

RELEASE = "release:churn@1"
SETTINGS = Settings(windows=Windows(rows=200))


@pytest.fixture
def log(database: Database, tmp_path: Path) -> PredictionLog:
    return PredictionLog(open_tables(f"file://{tmp_path / 'tables'}"), database, tmp_path / "spool")


@pytest.fixture
def monitoring(database: Database, log: PredictionLog, reached: Callable[[Monitoring], Monitoring]) -> Monitoring:
    return reached(Monitoring(database, log))


@pytest.fixture
def traffic(tmp_path: Path) -> Traffic:
    return Traffic(tmp_path / "spool")


def learn(monitoring: Monitoring, traffic: Traffic, settings: Settings = SETTINGS, release: str = RELEASE) -> Reference:
    held_out = traffic.frame(1500)
    return monitoring.set_reference(
        "churn",
        release,
        traffic.frame(3000),
        info=INFO,
        scored=traffic.answers(held_out),
        model="model:churn@1",
        dataset="dataset:customers@1",
        settings=settings,
        token=f"reference of {release}",
    )


def kinds(reports: list[WindowReport]) -> set[str]:
    return {alarm.finding.kind for report in reports for alarm in report.alarms}


def test_every_row_is_in_one_window_and_a_rest_waits(monitoring: Monitoring, log: PredictionLog, traffic: Traffic):
    learn(monitoring, traffic)
    seen = []
    for _ in range(4):
        traffic.serve(150)
        log.ingest()
        seen += monitoring.advance("churn")
    inputs, labels = ([r for r in seen if r.cut == cut] for cut in ("inputs", "labels"))
    assert [(r.number, r.rows) for r in inputs] == [(1, 200), (2, 200), (3, 200)]
    assert [(r.number, r.rows) for r in labels] == [(1, 200), (2, 200), (3, 200)]
    assert all(a.end < b.start for a, b in pairwise(inputs))
    assert kinds(seen) == set()
    assert monitoring.advance("churn") == []


def test_a_shift_raises_alarms_that_carry_their_window_and_budget(
    monitoring: Monitoring, log: PredictionLog, traffic: Traffic
):
    learn(monitoring, traffic)
    traffic.serve(400)
    traffic.serve(200, shift=1.0, labelled=False)
    log.ingest()
    monitoring.advance("churn")
    alarms = monitoring.alarms("churn")
    assert {(alarm.finding.column, alarm.window) for alarm in alarms} == {("x", 3), ("prediction", 3)}
    for alarm in alarms:
        assert alarm.rows == 200
        assert alarm.finding.p <= alarm.finding.share < 0.03
        assert alarm.finding.effect >= alarm.finding.threshold


def test_a_loss_of_accuracy_raises_an_alarm_on_labels_only(
    monitoring: Monitoring, log: PredictionLog, traffic: Traffic
):
    learn(monitoring, traffic)
    traffic.serve(200)
    traffic.serve(400, accuracy=0.75)
    log.ingest()
    reports = monitoring.advance("churn")
    assert kinds(reports) == {"performance"}
    worst = next(r for r in reports if r.alarms)
    assert worst.performance is not None
    assert worst.performance.low < worst.performance.value < worst.performance.high < 0.87


def test_refused_requests_are_drift_too(monitoring: Monitoring, log: PredictionLog, traffic: Traffic):
    learn(monitoring, traffic)
    traffic.serve(150, refused=50)
    log.ingest()
    assert kinds(monitoring.advance("churn")) == {"refused"}


def test_a_window_of_refusals_only_says_nothing_about_columns(
    monitoring: Monitoring, log: PredictionLog, traffic: Traffic
):
    learn(monitoring, traffic)
    traffic.serve(0, refused=200)
    log.ingest()
    (report,) = monitoring.advance("churn")
    assert kinds([report]) == {"refused"}


def test_a_label_that_is_no_number_does_not_stop_the_watch_of_a_regression():
    truth = logged_truth(["1.5", '"soon"', "true", '"2"'], "regression", None)
    assert np.isfinite(truth).tolist() == [True, False, False, True]


def test_a_column_that_stopped_coming_raises_an_alarm(monitoring: Monitoring, log: PredictionLog, traffic: Traffic):
    learn(monitoring, traffic)
    traffic.serve(200, drop="y")
    log.ingest()
    reports = monitoring.advance("churn")
    assert {(a.finding.column, a.finding.kind) for a in reports[0].alarms} == {("y", "nulls")}
    given = monitoring.check("churn", traffic.frame(100).drop("y"), *span())
    assert [(a.finding.column, a.finding.kind) for a in given.alarms] == [("y", "missing_column")]


def span() -> tuple[datetime, datetime]:
    return datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)


def test_windows_of_time_are_cut_by_event_time(monitoring: Monitoring, log: PredictionLog, traffic: Traffic):
    learn(monitoring, traffic, Settings(windows=Windows(rows=None, seconds=86_400, labels=100)))
    traffic.serve(500, step_s=864)
    log.ingest()
    inputs = [r for r in monitoring.advance("churn") if r.cut == "inputs"]
    assert [r.rows for r in inputs] == [99, 100, 100, 100, 100]
    assert all(r.end - r.start == timedelta(days=1) for r in inputs)
    traffic.serve(150, step_s=864)
    log.ingest()
    assert [r.number for r in monitoring.advance("churn") if r.cut == "inputs"] == [6]


def test_events_draw_the_line_from_an_alarm_back_to_the_dataset(
    monitoring: Monitoring, log: PredictionLog, traffic: Traffic, database: Database
):
    learn(monitoring, traffic)
    traffic.serve(200, shift=1.0)
    log.ingest()
    monitoring.advance("churn")
    with database.read() as connection:
        found = [event.kind for event in read_events(connection)]
        border = [monitoring.alarms("churn")[0].ref]
        reached = set()
        while border:
            border = [edge.source for edge in edges_up(connection, border)]
            reached.update(border)
    assert found[:3] == ["ReferenceSet", "WindowChecked", "DriftDetected"]
    assert {"dataset:customers@1", RELEASE, "model:churn@1"} <= reached


def test_a_token_gives_the_first_reference_again(monitoring: Monitoring, traffic: Traffic):
    assert learn(monitoring, traffic).id == learn(monitoring, traffic).id


def test_after_a_rollback_the_old_reference_is_watched_from_now_on(
    monitoring: Monitoring, log: PredictionLog, traffic: Traffic
):
    first = learn(monitoring, traffic)
    learn(monitoring, traffic, release="release:churn@2")
    traffic.serve(250)
    log.ingest()
    assert monitoring.advance("churn") == []
    assert monitoring.watch("churn", RELEASE).id == first.id
    assert monitoring.advance("churn") == []
    traffic.serve(200)
    log.ingest()
    assert [r.rows for r in monitoring.advance("churn") if r.cut == "inputs"] == [200]


def test_two_checkers_do_not_count_a_window_twice(monitoring: Monitoring, log: PredictionLog, traffic: Traffic):
    reference = learn(monitoring, traffic)
    traffic.serve(200)
    log.ingest()
    (window,) = list(monitoring._cut(reference, "inputs"))
    monitoring._check_inputs(reference, window)
    with pytest.raises(Conflict, match="meanwhile"):
        monitoring._check_inputs(reference, window)
    assert len(monitoring.windows("churn")) == 1


def test_status_says_what_is_watched_and_what_was_spent(monitoring: Monitoring, log: PredictionLog, traffic: Traffic):
    learn(monitoring, traffic)
    traffic.serve(200)
    log.ingest()
    monitoring.advance("churn")
    status = monitoring.status("churn")
    assert (status.windows, status.label_windows, status.alarms, status.columns) == (1, 1, 0, 3)
    assert 0.3 < status.spent < 0.5
    assert monitoring.monitored() == ["churn"]


def test_an_endpoint_without_a_reference_says_what_to_do(monitoring: Monitoring):
    with pytest.raises(NotFound, match="set a reference"):
        monitoring.status("churn")


def test_an_empty_reference_is_refused(monitoring: Monitoring, traffic: Traffic):
    with pytest.raises(InvalidData, match="empty"):
        monitoring.set_reference("churn", RELEASE, traffic.frame(0), info=INFO)


def test_answers_without_labels_are_refused(monitoring: Monitoring, traffic: Traffic):
    scored = traffic.answers(traffic.frame(50))
    with pytest.raises(InvalidData, match="one label for each"):
        monitoring.set_reference(
            "churn", RELEASE, traffic.frame(99), info=INFO, scored=Scored(scored.outputs, scored.truth[:40])
        )


def test_without_held_out_answers_only_columns_are_watched(
    monitoring: Monitoring, log: PredictionLog, traffic: Traffic
):
    reference = monitoring.set_reference("churn", RELEASE, traffic.frame(1000), info=INFO, settings=SETTINGS)
    assert reference.predictions is None
    assert "not watched" in reference.notes[0]
    traffic.serve(200, accuracy=0.1)
    log.ingest()
    assert [r.cut for r in monitoring.advance("churn")] == ["inputs"]


def test_settings_are_kept_for_the_next_reference(monitoring: Monitoring, traffic: Traffic):
    wanted = Settings(windows=Windows(rows=50), budget=Budget(month=0.001), ignore=["y"])
    assert monitoring.configure("churn", wanted) == monitoring.settings("churn")
    reference = monitoring.set_reference("churn", RELEASE, traffic.frame(500), info=INFO)
    assert reference.settings == wanted
    assert [profile.name for profile in reference.columns] == ["x", "plan"]


def test_thousands_of_columns_are_learnt_and_kept(monitoring: Monitoring, database: Database):
    wide = pl.DataFrame({f"c{i}": [float(j % (i % 7 + 2)) for j in range(60)] for i in range(2_000)})
    info = type(INFO)(signature=type(INFO.signature)([], []))
    reference = monitoring.set_reference("churn", RELEASE, wide, info=info)
    assert monitoring.reference("churn") == reference
    assert len(monitoring.check("churn", wide, *span()).findings) <= 60
