"""``traces/calculate-filter-correlation``: whether traces that pass one filter pass another more often than others."""

from __future__ import annotations

import math

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.protocols.mlflow.calls import CallList, Services
from mainspring.traces.correlation import JEFFREYS, association

calls = CallList("/3.0/mlflow")


class Correlate(msgspec.Struct):
    """Two filters, whose traces are meant, and a filter that all of them pass."""

    experiment_ids: list[str]
    filter_string1: str
    filter_string2: str
    base_filter: str = ""


class Correlation(msgspec.Struct, frozen=True):
    """How much two filters go together; what is undefined is the word NaN."""

    npmi: float | str
    npmi_smoothed: float | str
    filter1_count: int
    filter2_count: int
    joint_count: int
    total_count: int


@calls.on("POST", "traces/calculate-filter-correlation")
def correlate(services: Services, ask: Correlate) -> Correlation:
    """Say how much two filters of traces go together."""
    for name in ("experiment_ids", "filter_string1", "filter_string2"):
        if not getattr(ask, name):
            raise InvalidRequest(f"Missing value for required parameter '{name}'.")
    counts = services.traces.count_together(ask.experiment_ids, ask.filter_string1, ask.filter_string2, ask.base_filter)
    plain, smoothed = (association(counts, prior) for prior in (0.0, JEFFREYS))
    return Correlation(_told(plain), _told(smoothed), counts.first, counts.second, counts.both, counts.total)


def _told(value: float) -> float | str:
    return "NaN" if math.isnan(value) else value
