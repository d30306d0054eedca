from datetime import UTC, datetime, timedelta

import msgspec

from mainspring.core.ids import new_id
from mainspring.monitoring.model import Alarm, AlarmKind, Cut, Finding, Performance, WindowReport
from mainspring.pipelines.model import Pipeline
from mainspring.triggers.model import Policy, ScheduleRule, VolumeRule
from mainspring.triggers.rules import Situation, cooling, holds

NOW = datetime(2026, 1, 10, tzinfo=UTC)
PIPELINE = Pipeline("turn", [])
POLICY = Policy(pipeline=PIPELINE)


def report(number: int, *kinds: AlarmKind, effect: float = 0.15, cut: Cut = "inputs") -> WindowReport:
    shared = {"endpoint": "churn", "release": "release:churn@1", "reference": "reference:r", "cut": cut}
    times = {"start": NOW, "end": NOW, "at": NOW, "rows": 100}
    alarms = [
        Alarm(
            id=new_id(),
            window=number,
            finding=Finding(
                column="x", kind=kind, test="t", statistic=9.0, p=0.0, share=0.001, effect=effect, threshold=0.1
            ),
            **shared,
            **times,
        )
        for kind in kinds
    ]
    return WindowReport(id=new_id(), number=number, alpha=0.01, alarms=alarms, **shared, **times)


def labelled(number: int, *, worse: float) -> WindowReport:
    seen = Performance(
        metric="accuracy", value=0.9 - worse, low=None, high=None, reference=0.9, worse=worse, error=0.03, rows=100
    )
    return msgspec.structs.replace(report(number, cut="labels"), performance=seen)


def situation(*reports: WindowReport, **changes: object) -> Situation:
    facts = {"since": NOW - timedelta(days=1), "predictions": 0, "labels": 0, "firings_on_release": 0}
    return Situation(now=NOW, reports=list(reversed(reports)), **{**facts, **changes})


def test_one_weak_window_is_not_enough_for_drift():
    assert holds(POLICY, situation(report(1), report(2, "distribution"), report(3))) is None


def test_two_of_three_windows_are_enough_for_drift():
    found = holds(POLICY, situation(report(1, "distribution"), report(2), report(3, "distribution")))
    assert found is not None
    assert found[0] == "drift"
    assert len(found[1].alarms) == 2
    assert found[1].reasons[0] == "2 of the last 3 windows drifted"


def test_two_windows_too_far_apart_are_not_drift():
    apart = [report(1, "distribution"), report(2), report(3), report(4, "distribution")]
    assert holds(POLICY, situation(*apart)) is None


def test_one_strong_window_is_enough_for_drift():
    found = holds(POLICY, situation(report(1, "distribution", effect=0.4)))
    assert found is not None


def test_drift_that_no_retraining_heals_starts_none():
    reports = [report(n, "missing_column", "refused", "type_changed", effect=1.0) for n in (1, 2, 3)]
    assert holds(POLICY, situation(*reports)) is None


def test_lost_quality_fires_at_once_and_comes_first():
    reports = [report(1, "distribution", effect=1.0), report(1, "performance", cut="labels")]
    found = holds(POLICY, situation(*reports))
    assert found is not None
    assert found[0] == "performance"
    assert len(found[1].alarms) == 2


def test_volume_and_schedule_hold_by_counts_and_time():
    policy = Policy(pipeline=PIPELINE, volume=VolumeRule(labels=100), schedule=ScheduleRule(every_s=86_400))
    found = holds(policy, situation(labels=120))
    assert found is not None
    assert (found[0], found[1].labels, len(found[1].reasons)) == ("volume", 120, 2)
    assert holds(policy, situation(labels=99, since=NOW)) is None


def test_the_cooldown_doubles_with_each_firing_that_did_not_change_the_release():
    policy = Policy(pipeline=PIPELINE, cooldown_windows=2)
    two = situation(report(1), report(2), firings_on_release=1)
    assert cooling(policy, two, True) is None
    assert cooling(policy, situation(report(1), report(2), firings_on_release=2), True)
    assert cooling(policy, two, False) is None


def test_the_cooldown_does_not_double_while_the_quality_falls_further():
    policy = Policy(pipeline=PIPELINE, cooldown_windows=2)
    before = [labelled(1, worse=0.2), labelled(2, worse=0.2)]
    again = {"firings_on_release": 3, "before": before}
    assert cooling(policy, situation(report(3), labelled(3, worse=0.4), report(4), **again), True) is None
    assert cooling(policy, situation(report(3), labelled(3, worse=0.21), report(4), **again), True)
    assert cooling(policy, situation(report(3), labelled(3, worse=0.4), **again), True)
    assert cooling(policy, situation(report(3), report(4), **again), True)


def test_the_cooldown_of_time_counts_on_any_release():
    policy = Policy(pipeline=PIPELINE, cooldown_s=7200, cooldown_windows=0)
    assert "cooling down until" in (cooling(policy, situation(since=NOW - timedelta(hours=1)), True) or "")
    assert cooling(policy, situation(since=NOW - timedelta(hours=3)), True) is None
