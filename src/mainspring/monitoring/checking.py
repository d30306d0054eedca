"""Check one window of traffic, or of labels, against a reference: findings, the part of the budget, the performance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from mainspring.monitoring.answers import logged_outputs, logged_truth, prediction_column, scores_of
from mainspring.monitoring.budget import INPUTS, LABELS, PREDICTIONS, REFUSED, per_column
from mainspring.monitoring.comparison import compare, distribution, missing_column, shares_differ
from mainspring.monitoring.model import Finding, Performance, Profile, Reference
from mainspring.monitoring.quality import findings_of, performance_of
from mainspring.registry.quality import Scores

_KEPT = 60


def input_findings(
    reference: Reference,
    features: pl.DataFrame,
    scores: Scores | None,
    refused: tuple[int, int],
    alpha: float,
) -> tuple[list[Finding], list[str]]:
    """Test the columns, the predictions and the share of refused requests, given as (refused, all), of one window.

    *scores* are the answers to the same rows, where they are known. The alarming findings come first, then those next
    to an alarm, sixty findings at most unless more are alarming. Also gives notes.
    """
    effects, fewest = reference.settings.effects, reference.settings.windows.fewest
    tested = [profile for profile in reference.columns if profile.excluded is None]
    share = per_column(alpha * INPUTS, len(tested))
    findings: list[Finding] = []
    for profile in reference.columns:
        if profile.name in features.columns:
            findings += compare(profile, features[profile.name], effects, share, fewest)
        elif features.height:
            findings.append(missing_column(profile))
    if scores is not None and reference.predictions is not None and reference.task is not None:
        answers = prediction_column(scores, reference.task, reference.classes).drop_nulls()
        findings += _prediction_findings(reference.predictions, answers, effects.psi, alpha * INPUTS, fewest)
    findings.append(
        shares_differ(
            "requests",
            "refused",
            refused,
            (0, reference.rows),
            effects.refused,
            alpha * INPUTS * REFUSED,
            note=f"{refused[0]} of {refused[1]} rows were refused as malformed",
        )
    )
    return _kept(findings), _unknown_columns(reference, features)


def label_findings(
    reference: Reference, rows: pl.DataFrame, before: Sequence[Performance], alpha: float
) -> tuple[list[Finding], Performance | None]:
    """Test the quality on one window of logged rows with labels; *before* are the windows that came last.

    A label of a regression that is no number is left out.
    """
    if reference.quality is None or reference.task is None:
        return [], None
    truth = logged_truth(rows["label"].to_list(), reference.task, reference.classes)
    sound = np.isfinite(truth)
    if not sound.any():
        return [], None
    truth, scores = truth[sound], logged_scores(reference, rows.filter(pl.Series(sound)))
    performance = performance_of(reference.quality, truth, scores)
    if performance is None:
        return [], None
    return findings_of(reference.quality, [*before, performance], alpha * LABELS), performance


def logged_scores(reference: Reference, rows: pl.DataFrame) -> Scores:
    """Give the logged answers of a model whose task is known."""
    assert reference.task is not None
    return scores_of(logged_outputs(rows["output"].to_list()), reference.task, reference.classes)


def _prediction_findings(
    profile: Profile, answers: pl.Series, threshold: float, alpha: float, fewest: int
) -> list[Finding]:
    if len(answers) < fewest or profile.excluded is not None:
        return []
    return distribution(profile, answers, threshold, alpha * PREDICTIONS, "prediction")


def _kept(findings: list[Finding]) -> list[Finding]:
    ordered = sorted(findings, key=lambda f: (not f.alarming, f.p / max(f.share, 1e-300)))
    loud = sum(finding.alarming for finding in findings)
    return ordered[: max(loud, _KEPT)]


def _unknown_columns(reference: Reference, features: pl.DataFrame) -> list[str]:
    known = {profile.name for profile in reference.columns} | set(reference.settings.ignore)
    if unknown := [name for name in features.columns if name not in known]:
        return [f"columns that the reference does not have: {', '.join(unknown[:10])}"]
    return []
