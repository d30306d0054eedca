"""Whether a model treats groups of people alike: ratios of selection, and gaps of errors, with their intervals.

The measures are those of Feldman et al. 2015 (the ratio of selection rates) and of Hardt, Price & Srebro 2016
(equalised odds: equal true and false positive rates).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mainspring.core.errors import InvalidData
from mainspring.registry.gate_model import Check, GatePolicy, Holdout
from mainspring.registry.intervals import Span, mean_span, share_difference, share_ratio
from mainspring.registry.quality import Array, Scores, losses
from mainspring.registry.signature import ModelInfo


def fairness(
    policy: GatePolicy, column: str, holdout: Holdout, truth: Array, scores: Scores, info: ModelInfo
) -> Iterator[Check]:
    """Yield the checks of one protected column: shares of positive answers, and gaps between the groups' errors.

    Raises InvalidData when the holdout does not have the column.
    """
    groups = groups_of(policy, column, holdout)
    if len(groups) < 2:
        said = (
            f"{column!r} has {len(groups)} groups of at least {policy.min_group_rows} rows; two are needed to compare"
        )
        yield Check(name=f"fairness.{column}", passed=False, value=None, bound=None, detail=said)
        return
    if info.task == "binary" and policy.min_selection_ratio is not None:
        yield _selection(policy, policy.min_selection_ratio, column, groups, scores)
    if policy.max_error_gap is None:
        return
    if info.task == "regression":
        yield _number_gap(policy, policy.max_error_gap, column, groups, truth, scores)
        return
    yield _rate_gap(policy, policy.max_error_gap, f"error_gap.{column}", groups, scores.label != truth)
    if info.task == "binary":
        for name, place in (("true_positive_gap", 1), ("false_positive_gap", 0)):
            within = {group: rows & (truth == place) for group, rows in groups.items()}
            within = {group: rows for group, rows in within.items() if rows.sum() >= policy.min_group_rows}
            if len(within) > 1:
                yield _rate_gap(policy, policy.max_error_gap, f"{name}.{column}", within, scores.label == 1)


def groups_of(policy: GatePolicy, column: str, holdout: Holdout) -> dict[str, Array]:
    """Give the rows of each value of a column that has enough of them; raises InvalidData when there is no column."""
    values = holdout.groups.get(column, holdout.columns.get(column))
    if values is None:
        raise InvalidData(f"the column {column!r} is not in the holdout; add it to its groups", column=column)
    named = np.array(["(missing)" if value is None else str(value) for value in values], dtype=object)
    found = {str(group): named == group for group in np.unique(named)}
    return {group: rows for group, rows in found.items() if rows.sum() >= policy.min_group_rows}


def _selection(policy: GatePolicy, bound: float, column: str, groups: dict[str, Array], scores: Scores) -> Check:
    counts = {group: (int((scores.label[rows] == 1).sum()), int(rows.sum())) for group, rows in groups.items()}
    ordered = sorted(counts, key=lambda group: counts[group][0] / counts[group][1])
    least, most = ordered[0], ordered[-1]
    ratio = share_ratio(counts[least], counts[most], policy.level)
    said = (
        f"positive answers: {_share(counts[least])} of {least!r} against {_share(counts[most])} of {most!r}; ratio "
        f"{_span(ratio)} at {policy.level:.0%}, must not lie below {bound:g}"
    )
    return Check(
        name=f"selection_ratio.{column}",
        passed=ratio.high >= bound,
        value=ratio.value,
        bound=bound,
        low=ratio.low,
        high=ratio.high,
        detail=said,
    )


def _rate_gap(policy: GatePolicy, bound: float, name: str, groups: dict[str, Array], event: Array) -> Check:
    counts = {group: (int(event[rows].sum()), int(rows.sum())) for group, rows in groups.items()}
    ordered = sorted(counts, key=lambda group: counts[group][0] / counts[group][1])
    least, most = ordered[0], ordered[-1]
    gap = share_difference(counts[most], counts[least], policy.level)
    said = (
        f"{_share(counts[most])} of {most!r} against {_share(counts[least])} of {least!r}; gap {_span(gap)} at "
        f"{policy.level:.0%}, must not lie above {bound:g}"
    )
    return Check(
        name=name, passed=gap.low <= bound, value=gap.value, bound=bound, low=gap.low, high=gap.high, detail=said
    )


def _number_gap(
    policy: GatePolicy, bound: float, column: str, groups: dict[str, Array], truth: Array, scores: Scores
) -> Check:
    error = losses("mae", truth, scores)
    overall = float(error.mean()) or 1.0
    spans = {group: mean_span(error[rows] / overall, policy.level) for group, rows in groups.items()}
    ordered = sorted(spans, key=lambda group: spans[group].value)
    least, most = spans[ordered[0]], spans[ordered[-1]]
    reach = float(np.hypot(most.high - most.value, least.high - least.value))
    gap = Span(most.value - least.value, most.value - least.value - reach, most.value - least.value + reach)
    said = (
        f"mean absolute error, as a share of the overall one: {most.value:.3g} of {ordered[-1]!r} against "
        f"{least.value:.3g} of {ordered[0]!r}; gap {_span(gap)} at {policy.level:.0%}, must not lie above {bound:g}"
    )
    return Check(
        name=f"error_gap.{column}",
        passed=gap.low <= bound,
        value=gap.value,
        bound=bound,
        low=gap.low,
        high=gap.high,
        detail=said,
    )


def _share(counts: tuple[int, int]) -> str:
    return f"{counts[0] / counts[1]:.1%}"


def _span(span: Span) -> str:
    return f"{span.value:.3g} [{span.low:.3g}, {span.high:.3g}]"
