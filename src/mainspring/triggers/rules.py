"""When do the rules of a policy hold? Pure functions of the reports, the counts and the time since the last firing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from mainspring.monitoring.model import Alarm, WindowReport
from mainspring.triggers.model import DriftRule, Evidence, Policy, ScheduleRule, TriggerKind, VolumeRule

_MOST_DOUBLINGS = 3
_COMPARED_WINDOWS, _SURE_Z = 4, 3.0


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """What a decision looks at: reports since the last firing (newest first), counts since it, and times.

    ``before`` are the reports on the same release up to the last firing, newest first.
    """

    now: datetime
    since: datetime
    reports: Sequence[WindowReport]
    predictions: int
    labels: int
    firings_on_release: int
    before: Sequence[WindowReport] = ()


def holds(policy: Policy, situation: Situation) -> tuple[TriggerKind, Evidence] | None:
    """Give the first rule that holds and all the evidence: performance before drift, volume and schedule."""
    found: list[tuple[TriggerKind, Evidence]] = []
    if policy.performance is not None:
        found += _performance(situation)
    if policy.drift is not None:
        found += _drift(policy.drift, situation)
    if policy.volume is not None:
        found += _volume(policy.volume, situation)
    if policy.schedule is not None:
        found += _schedule(policy.schedule, situation)
    if not found:
        return None
    return found[0][0], _together([evidence for _, evidence in found])


def cooling(policy: Policy, situation: Situation, fired: bool) -> str | None:
    """Say why it is too early to fire again; None when it is not."""
    if not fired:
        return None
    doublings = 0 if _fell_further(situation) else max(0, situation.firings_on_release - 1)
    times = 2 ** min(_MOST_DOUBLINGS, doublings)
    until = situation.since + timedelta(seconds=policy.cooldown_s * times)
    if situation.now < until:
        return f"cooling down until {until.isoformat()}"
    windows = sum(report.cut == "inputs" for report in situation.reports)
    wanted = policy.cooldown_windows * times if situation.firings_on_release else 0
    if windows < wanted:
        return f"cooling down: {windows} of {wanted} windows since the last firing"
    return None


def _fell_further(situation: Situation) -> bool:
    """Tell whether the quality is surely worse than at the last firing: what did not help then may help now."""
    since, before = _quality(situation.reports), _quality(situation.before)
    if since is None or before is None:
        return False
    return since[0] - before[0] > _SURE_Z * math.hypot(since[1], before[1])


def _quality(reports: Sequence[WindowReport]) -> tuple[float, float] | None:
    seen = [r.performance for r in reports if r.performance is not None and r.performance.rows][:_COMPARED_WINDOWS]
    if not seen:
        return None
    rows = sum(one.rows for one in seen)
    worse = sum(one.rows * one.worse for one in seen) / rows
    return worse, math.hypot(*[one.rows * one.error for one in seen]) / rows


def _performance(situation: Situation) -> list[tuple[TriggerKind, Evidence]]:
    alarms = [a for report in situation.reports for a in report.alarms if a.finding.kind == "performance"]
    if not alarms:
        return []
    reasons = [_said(alarm) for alarm in alarms[:1]]
    return [
        ("performance", Evidence(reasons=reasons, alarms=[a.ref for a in alarms], reports=_reports(alarms, situation)))
    ]


def _drift(rule: DriftRule, situation: Situation) -> list[tuple[TriggerKind, Evidence]]:
    looked = [report for report in situation.reports if report.cut == "inputs"][: rule.of]
    drifted = {report.number: [a for a in report.alarms if a.finding.kind in rule.kinds] for report in looked}
    drifted = {number: alarms for number, alarms in drifted.items() if alarms}
    alarms = [alarm for of_window in drifted.values() for alarm in of_window]
    strong = [a for a in alarms if a.finding.effect >= rule.strong * a.finding.threshold]
    if len(drifted) < rule.least and not strong:
        return []
    reasons = [f"{len(drifted)} of the last {len(looked)} windows drifted"]
    loudest = sorted(alarms, key=lambda a: -a.finding.effect / a.finding.threshold)
    reasons += list(dict.fromkeys(_said(alarm) for alarm in loudest[:3]))
    return [("drift", Evidence(reasons=reasons, alarms=[a.ref for a in alarms], reports=[r.ref for r in looked]))]


def _volume(rule: VolumeRule, situation: Situation) -> list[tuple[TriggerKind, Evidence]]:
    reasons = []
    if rule.predictions is not None and situation.predictions >= rule.predictions:
        reasons.append(f"{situation.predictions} predictions since the last firing, {rule.predictions} wanted")
    if rule.labels is not None and situation.labels >= rule.labels:
        reasons.append(f"{situation.labels} labels since the last firing, {rule.labels} wanted")
    if not reasons:
        return []
    return [("volume", Evidence(reasons=reasons, predictions=situation.predictions, labels=situation.labels))]


def _schedule(rule: ScheduleRule, situation: Situation) -> list[tuple[TriggerKind, Evidence]]:
    due = situation.since + timedelta(seconds=rule.every_s)
    return [("schedule", Evidence(reasons=[f"due since {due.isoformat()}"]))] if situation.now >= due else []


def _said(alarm: Alarm) -> str:
    finding = alarm.finding
    text = f"{finding.column}: {finding.kind} in window {alarm.window}, effect {finding.effect:.3g}"
    return f"{text} ({finding.note})" if finding.note else text


def _reports(alarms: Sequence[Alarm], situation: Situation) -> list[str]:
    known = {alarm.id for alarm in alarms}
    return [report.ref for report in situation.reports if any(a.id in known for a in report.alarms)]


def _together(parts: list[Evidence]) -> Evidence:
    return Evidence(
        reasons=[reason for part in parts for reason in part.reasons],
        alarms=list(dict.fromkeys(alarm for part in parts for alarm in part.alarms)),
        reports=list(dict.fromkeys(report for part in parts for report in part.reports)),
        predictions=next((part.predictions for part in parts if part.predictions is not None), None),
        labels=next((part.labels for part in parts if part.labels is not None), None),
    )
