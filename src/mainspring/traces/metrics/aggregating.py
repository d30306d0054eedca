"""Sums and percentiles."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mainspring.traces.metrics.model import Aggregation


def aggregated(aggregation: Aggregation, values: Sequence[float]) -> float:
    """Sum up the values of a group, which has at least one; for percentiles they are sorted."""
    kind = aggregation.kind
    if kind == "count":
        return float(len(values))
    if kind == "sum":
        return math.fsum(values)
    if kind == "avg":
        return math.fsum(values) / len(values)
    if kind == "min":
        return values[0]
    if kind == "max":
        return values[-1]
    assert aggregation.percentile is not None
    place = aggregation.percentile / 100 * (len(values) - 1)
    below = math.floor(place)
    above = min(below + 1, len(values) - 1)
    return values[below] + (values[above] - values[below]) * (place - below)
