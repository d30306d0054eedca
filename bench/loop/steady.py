"""Is anything retrained where nothing changes? Many seeds, in one process, without servers.

The first model is trained by the real pipeline, its reference is the one that the pipeline learned, and every window is
judged by the functions that the monitors and the triggers call. Only the way over HTTP and the log is left out.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from mainspring.core.settings import Settings
from mainspring.loop import retraining
from mainspring.loop.policy import plan_of
from mainspring.loop.rows import columns_of
from mainspring.loop.table import Split, Window, split
from mainspring.monitoring import budget
from mainspring.monitoring.answers import truth_of
from mainspring.monitoring.checking import input_findings
from mainspring.monitoring.model import Alarm, Finding, Performance, Reference, WindowReport, Windows
from mainspring.monitoring.model import Settings as MonitorSettings
from mainspring.monitoring.quality import POOLED, findings_of, performance_of
from mainspring.pipelines.context import StepContext
from mainspring.planes.adapters import ServedScorer
from mainspring.planes.embedded import Platform, open_platform
from mainspring.registry.answers import scores_of
from mainspring.registry.quality import Scores
from mainspring.triggers.model import Policy
from mainspring.triggers.rules import Situation, holds

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAME = "steady"


class Watched(msgspec.Struct, frozen=True):
    """What the watch of one table came to: the window in which a trigger fired (None: never), and why."""

    fired: int | None
    trigger: str | None
    reasons: list[str]
    alarms: int


def watch(frame: pl.DataFrame, target: str, *, time: str | None = None, seed: int = 0) -> Watched:
    """Train on the earlier part, then watch the later one until a trigger fires."""
    table = split(frame, target, time=time)
    with tempfile.TemporaryDirectory(prefix="mainspring-steady-") as home:
        platform = open_platform(Settings(home=Path(home)))
        try:
            reference = _first_turn(platform, table, seed)
            return _windows(platform, reference, table)
        finally:
            platform.close()


def _first_turn(platform: Platform, table: Split, seed: int) -> Reference:
    rows = table.windows[0].stop - table.windows[0].start
    platform.monitoring.configure(_NAME, MonitorSettings(windows=Windows(rows=rows)))
    dataset = platform.datasets.import_frame(_NAME, table.earlier, time_column=table.dated, check=False)
    parameters = msgspec.to_builtins(plan_of(_NAME, table, dataset.ref, metric=None, seed=seed))
    results: dict[str, Any] = {}
    for step in retraining.PIPELINE.steps:
        context = StepContext(
            run="first",
            pipeline="turn",
            step=step.name,
            attempt=1,
            parameters=parameters,
            inputs=dict(results),
            platform=lambda: platform,
            progress=lambda text, fraction: None,
        )
        made = getattr(retraining, step.name)(context)
        results[step.name] = msgspec.to_builtins(made)
    return platform.monitoring.reference(_NAME)


def _windows(platform: Platform, reference: Reference, table: Split) -> Watched:
    version = platform.registry.resolve(f"model:{_NAME}@champion")
    session = ServedScorer(platform.folders).open(version)
    names = [field.name for field in version.info.signature.inputs]
    try:
        answers = scores_of(version.info, session.predict(columns_of(table.later, names)))
    finally:
        session.close()
    truth = truth_of(table.later[table.target].to_list(), version.info.task or "binary", version.info.classes)
    policy, reports, shown, months = Policy(pipeline=retraining.PIPELINE), list[WindowReport](), list[Performance](), {}
    for window in table.windows:
        month = None if table.instants is None else table.instants[window.stop - 1] // 2_592_000_000_000
        months[month] = in_month = months.get(month, 0) + 1
        alpha = budget.alpha(reference.settings.budget, reference.settings.windows, window.number + 1, in_month)
        rows = slice(window.start, window.stop)
        part = Scores(answers.label[rows], None if answers.probabilities is None else answers.probabilities[rows])
        features = table.later[rows].select(names)
        found, _ = input_findings(reference, features, part, (0, features.height), alpha)
        reports.insert(0, _report(reference, window, "inputs", alpha, found))
        if reference.quality is not None:
            seen = performance_of(reference.quality, truth[rows], part)
            if seen is not None:
                shown.append(seen)
                found = findings_of(reference.quality, shown[-POOLED:], alpha * budget.LABELS)
                reports.insert(0, _report(reference, window, "labels", alpha, found))
        situation = Situation(now=_EPOCH, since=_EPOCH, reports=reports, predictions=0, labels=0, firings_on_release=0)
        if (fired := holds(policy, situation)) is not None:
            return Watched(window.number, fired[0], fired[1].reasons, sum(len(r.alarms) for r in reports))
    return Watched(None, None, [], sum(len(r.alarms) for r in reports))


def _report(reference: Reference, window: Window, cut: Any, alpha: float, findings: list[Finding]) -> WindowReport:
    shared: dict[str, Any] = {
        "endpoint": reference.endpoint,
        "release": reference.release,
        "reference": reference.ref,
        "cut": cut,
        "start": _EPOCH,
        "end": _EPOCH,
        "rows": window.stop - window.start,
        "at": _EPOCH,
    }
    alarms = [
        Alarm(id=f"{window.number}-{cut}-{place}", window=window.number + 1, finding=finding, **shared)
        for place, finding in enumerate(findings)
        if finding.alarming
    ]
    return WindowReport(
        id=f"{window.number}-{cut}", number=window.number + 1, alpha=alpha, findings=findings, alarms=alarms, **shared
    )
