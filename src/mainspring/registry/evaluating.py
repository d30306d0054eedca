"""One evaluation of the gates: both versions answer the holdout, every check is made, and the report is written."""

from __future__ import annotations

from datetime import datetime

from mainspring.core.ids import new_id
from mainspring.registry import gates
from mainspring.registry.answers import in_classes_of
from mainspring.registry.events import GatesEvaluated
from mainspring.registry.gate_model import GatePolicy, GateReport, Holdout
from mainspring.registry.gates import Scorer
from mainspring.registry.model import ServableVersion


def evaluate(
    scorer: Scorer,
    candidate: ServableVersion,
    champion: ServableVersion | None,
    holdout: Holdout,
    policy: GatePolicy,
    under: str | None,
    now: datetime,
) -> GateReport:
    """Measure a version against the champion; *under* names the policy where it is one that is kept by name."""
    truth = gates.truth_of_holdout(candidate.info, holdout)
    metric = gates.choose_metric(policy, candidate.info, truth)
    measured = gates.measure_model(scorer, candidate, holdout, policy.latency_requests)
    other = None
    if champion is not None:
        theirs = gates.score_model(scorer, champion, holdout)
        other = (champion, in_classes_of(candidate.info, champion.info, theirs))
    checks = list(gates.run_checks(policy, candidate, metric, truth, holdout, measured, other))
    return GateReport(
        ref=f"report:{new_id()}",
        model=candidate.ref,
        champion=None if champion is None else champion.ref,
        dataset=holdout.dataset,
        rows=len(truth),
        metric=metric,
        policy=policy,
        checks=checks,
        at=now,
        under=under,
    )


def evaluated(report: GateReport) -> GatesEvaluated:
    """Give the event of a report."""
    return GatesEvaluated(
        report=report.ref,
        model=report.model,
        champion=report.champion,
        dataset=report.dataset,
        passed=report.passed,
        failed=[check.name for check in report.failed],
    )
