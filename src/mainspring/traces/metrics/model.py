"""What is asked of many traces at once, and what is answered."""

from __future__ import annotations

from typing import Literal

import msgspec

from mainspring.core.errors import InvalidRequest

MAX_POINTS = 1000

View = Literal["traces", "spans", "assessments"]
Kind = Literal["count", "sum", "avg", "min", "max", "percentile"]

_NUMBERS: tuple[Kind, ...] = ("avg", "max", "min", "percentile")
_SUMS: tuple[Kind, ...] = (*_NUMBERS, "sum")
_MODEL = ("span_model_name", "span_model_provider")
METRICS: dict[View, dict[str, tuple[tuple[Kind, ...], tuple[str, ...]]]] = {
    "traces": {
        "trace_count": (("count",), ("trace_name", "trace_status")),
        "session_count": (("count",), ()),
        "latency": (_NUMBERS, ("trace_name",)),
        "input_tokens": (_SUMS, ("trace_name",)),
        "output_tokens": (_SUMS, ("trace_name",)),
        "total_tokens": (_SUMS, ("trace_name",)),
        "cache_read_input_tokens": (_SUMS, ("trace_name",)),
        "cache_creation_input_tokens": (_SUMS, ("trace_name",)),
    },
    "spans": {
        "span_count": (("count",), ("span_name", "span_type", "span_status", *_MODEL)),
        "latency": (_NUMBERS, ("span_name", "span_status")),
        "input_cost": (_SUMS, _MODEL),
        "output_cost": (_SUMS, _MODEL),
        "total_cost": (_SUMS, _MODEL),
    },
    "assessments": {
        "assessment_count": (("count",), ("assessment_name", "assessment_value")),
        "assessment_value": (_NUMBERS, ("assessment_name",)),
    },
}
"""What is measured of each, how it may be summed up, and by what it may be grouped."""


class Aggregation(msgspec.Struct, frozen=True):
    """How values are summed up; a percentile is one of 0 to 100, between values in proportion."""

    kind: Kind
    percentile: float | None = None

    @property
    def name(self) -> str:
        """Give the name by which the answer has it."""
        return self.kind.upper() if self.percentile is None else f"P{float(self.percentile)}"


class MetricQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked: of which traces, what is measured, how it is summed up, and by what it is grouped.

    ``where``: comparisons by ``=`` that must all hold: ``trace.status``, ``trace.tag.KEY``, ``trace.metadata.KEY``, and
    ``span.NAME`` or ``assessment.NAME`` in their own view. ``interval_s`` groups by time.
    """

    experiments: list[str]
    view: View
    metric: str
    aggregations: list[Aggregation]
    dimensions: list[str] = []
    where: list[str] = []
    interval_s: int | None = None
    start_ms: int | None = None
    end_ms: int | None = None

    def check(self) -> None:
        """Raise InvalidRequest for what is not measured, or not like this."""
        known = METRICS[self.view]
        if self.metric not in known:
            raise InvalidRequest(f"metric_name must be one of {list(known)}, got '{self.metric}'")
        kinds, dimensions = known[self.metric]
        if wrong := sorted({one.kind.upper() for one in self.aggregations} - {kind.upper() for kind in kinds}):
            supported = sorted(kind.upper() for kind in kinds)
            raise InvalidRequest(
                f"Found invalid aggregation_type(s): {wrong}. Supported aggregation types: {supported}"
            )
        if wrong := sorted(set(self.dimensions) - set(dimensions)):
            raise InvalidRequest(f"Found invalid dimension(s): {wrong}. Supported dimensions: {sorted(dimensions)}")
        for one in self.aggregations:
            if (one.kind == "percentile") != (one.percentile is not None):
                raise InvalidRequest("a percentile_value goes with PERCENTILE, and only with it")
            if one.percentile is not None and not 0 <= one.percentile <= 100:
                raise InvalidRequest(f"Percentile value must be between 0 and 100, got {one.percentile}")
        if self.interval_s is not None:
            if self.interval_s < 1:
                raise InvalidRequest(f"time_interval_seconds is {self.interval_s}, expected at least 1")
            if self.start_ms is None or self.end_ms is None:
                raise InvalidRequest("start_time_ms and end_time_ms are required if time_interval_seconds is set")


class MetricPoint(msgspec.Struct, frozen=True):
    """The values of one group; of one in time, ``time_bucket`` is when it begins."""

    metric: str
    dimensions: dict[str, str]
    values: dict[str, float]
