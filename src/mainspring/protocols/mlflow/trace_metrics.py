"""``traces/metrics``: what many traces say together."""

from __future__ import annotations

from typing import Any

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.protocols.mlflow.calls import CallList, Services
from mainspring.protocols.mlflow.registry_entities import next_token, read_token
from mainspring.traces.metrics.model import MAX_POINTS, Aggregation, Kind, MetricQuery, View

calls = CallList("/3.0/mlflow")

_VIEWS: dict[str | int, View] = {
    **dict.fromkeys(("TRACES", 1), "traces"),
    **dict.fromkeys(("SPANS", 2), "spans"),
    **dict.fromkeys(("ASSESSMENTS", 3), "assessments"),
}
_KINDS: dict[str | int, Kind] = {
    **dict.fromkeys(("COUNT", 1), "count"),
    **dict.fromkeys(("SUM", 2), "sum"),
    **dict.fromkeys(("AVG", 3), "avg"),
    **dict.fromkeys(("PERCENTILE", 4), "percentile"),
    **dict.fromkeys(("MIN", 5), "min"),
    **dict.fromkeys(("MAX", 6), "max"),
}


class AggregationWire(msgspec.Struct):
    """How values are summed up."""

    aggregation_type: str | int
    percentile_value: float | None = None


class Query(msgspec.Struct):
    """What is asked of many traces."""

    experiment_ids: list[str]
    view_type: str | int
    metric_name: str
    aggregations: list[AggregationWire]
    dimensions: list[str] = []
    filters: list[str] = []
    time_interval_seconds: int | None = None
    start_time_ms: int | None = None
    end_time_ms: int | None = None
    max_results: int | None = None
    page_token: str = ""


class Point(msgspec.Struct, frozen=True):
    """The values of one group."""

    metric_name: str
    dimensions: dict[str, str]
    values: dict[str, float]


class Points(msgspec.Struct, frozen=True, omit_defaults=True):
    """Values by group."""

    data_points: list[Point] = []
    next_page_token: str = ""


@calls.on("POST", "traces/metrics")
def query(services: Services, ask: Query) -> Points:
    """Sum up what was measured."""
    if not ask.experiment_ids or not ask.aggregations:
        missing = "aggregations" if ask.experiment_ids else "experiment_ids"
        raise InvalidRequest(f"Missing value for required parameter '{missing}'.")
    limit = MAX_POINTS if ask.max_results is None else ask.max_results
    if not 1 <= limit <= MAX_POINTS:
        raise InvalidRequest(f"Invalid value {limit} for parameter 'max_results' supplied: expected 1 to {MAX_POINTS}")
    found = services.trace_metrics.query(
        MetricQuery(
            experiments=ask.experiment_ids,
            view=_known(ask.view_type, _VIEWS, "view_type"),
            metric=ask.metric_name,
            aggregations=[
                Aggregation(_known(one.aggregation_type, _KINDS, "aggregation_type"), one.percentile_value)
                for one in ask.aggregations
            ],
            dimensions=ask.dimensions,
            where=ask.filters,
            interval_s=ask.time_interval_seconds,
            start_ms=ask.start_time_ms,
            end_ms=ask.end_time_ms,
        )
    )
    offset = read_token(ask.page_token)
    page = [Point(one.metric, one.dimensions, one.values) for one in found[offset : offset + limit]]
    return Points(page, next_token(offset, limit, len(found) - offset))


def _known(word: str | int, words: dict[str | int, Any], field: str) -> Any:
    if word not in words:
        expected = ", ".join(name for name in words if isinstance(name, str))
        raise InvalidRequest(f"Invalid value {word!r} for parameter '{field}' supplied: expected one of {expected}")
    return words[word]
