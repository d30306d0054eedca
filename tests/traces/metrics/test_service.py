"""What many traces say together is what a list of all of them says, summed up by hand."""

from __future__ import annotations

from typing import Any

import pytest

from mainspring.core.errors import InvalidRequest
from mainspring.storage.sql.database import Database
from mainspring.traces.metrics.model import Aggregation, MetricPoint, MetricQuery
from mainspring.traces.metrics.service import TraceMetrics
from mainspring.traces.model import Assessment
from mainspring.traces.service import Traces
from tests.traces.spans import came, span, trace

COUNT, AVG, SUM, MEDIAN, P90 = (
    Aggregation("count"),
    Aggregation("avg"),
    Aggregation("sum"),
    Aggregation("percentile", 50),
    Aggregation("percentile", 90),
)


@pytest.fixture
def metrics(database: Database, traces: Traces) -> TraceMetrics:
    """Six traces of experiment ``e`` that begin 10 s apart, took 1 s, 2 s and so on, and one of another experiment."""
    for n in range(6):
        tokens = f'{{"input_tokens": {n}, "total_tokens": {2 * n}}}' if n else "no JSON"
        traces.put_trace(
            trace(
                f"t{n}",
                n * 10_000,
                duration_ms=(n + 1) * 1000,
                state="error" if n % 3 == 0 else "ok",
                tags={"mlflow.traceName": "ask" if n < 4 else "say", "team": "ads" if n % 2 else "ops"},
                metadata={"mlflow.trace.tokenUsage": tokens} | ({"mlflow.trace.session": f"s{n // 2}"} if n else {}),
            ),
            run="r" if n == 5 else None,
        )
        cost = {"mlflow.llm.cost": {"total_cost": n / 2}, "mlflow.llm.model": "m1" if n < 3 else "m2"}
        traces.log_spans(
            "e",
            [
                came(
                    f"t{n}",
                    span(at_s=n * 10, took_s=n, name="root", type="CHAIN", status="error" if n == 5 else "ok"),
                    span("b" * 16, at_s=n * 10, took_s=1, name="ask", type="LLM", **cost),
                    span("c" * 16, at_s=n * 10, took_s=None, name="open"),
                )
            ],
        )
    for n, value in enumerate([True, False, "Yes", "no", 0.5, "text", None]):
        traces.assess(Assessment("", f"t{n % 3}", "good", "feedback", "HUMAN", value=value, created_ms=n + 1))
    traces.put_trace(trace("other", 0, "f", duration_ms=7000))
    return TraceMetrics(database)


def asked(metrics: TraceMetrics, view: Any, metric: str, *how: Aggregation, **also: Any) -> list[MetricPoint]:
    return metrics.query(MetricQuery(experiments=["e"], view=view, metric=metric, aggregations=list(how), **also))


def values(points: list[MetricPoint]) -> list[dict[str, float]]:
    return [point.values for point in points]


def by(points: list[MetricPoint], name: str) -> dict[str, float]:
    return {point.dimensions[name]: next(iter(point.values.values())) for point in points}


def test_traces_are_counted(metrics: TraceMetrics) -> None:
    assert values(asked(metrics, "traces", "trace_count", COUNT)) == [{"COUNT": 6}]
    assert by(asked(metrics, "traces", "trace_count", COUNT, dimensions=["trace_status"]), "trace_status") == {
        "ERROR": 2,
        "OK": 4,
    }
    assert by(asked(metrics, "traces", "trace_count", COUNT, dimensions=["trace_name"]), "trace_name") == {
        "ask": 4,
        "say": 2,
    }
    assert values(asked(metrics, "traces", "session_count", COUNT)) == [{"COUNT": 3}]
    none = MetricQuery(experiments=["none"], view="traces", metric="trace_count", aggregations=[COUNT])
    assert values(metrics.query(none)) == [{"COUNT": 0}]


def test_latencies_and_tokens_are_summed_up(metrics: TraceMetrics) -> None:
    kinds = [AVG, Aggregation("min"), Aggregation("max"), MEDIAN, P90]
    (latency,) = values(asked(metrics, "traces", "latency", *kinds))
    assert latency == {"AVG": 3500, "MIN": 1000, "MAX": 6000, "P50.0": 3500, "P90.0": 5500}
    (tokens,) = values(asked(metrics, "traces", "input_tokens", SUM, AVG))
    assert tokens == {"SUM": 15, "AVG": 3}
    assert by(asked(metrics, "traces", "total_tokens", SUM, dimensions=["trace_name"]), "trace_name") == {
        "ask": 12,
        "say": 18,
    }
    assert asked(metrics, "traces", "cache_read_input_tokens", SUM) == []


def test_time_is_cut_into_intervals(metrics: TraceMetrics) -> None:
    points = asked(metrics, "traces", "trace_count", COUNT, interval_s=20, start_ms=10_000, end_ms=40_000)
    assert [(point.dimensions["time_bucket"], point.values["COUNT"]) for point in points] == [
        ("1970-01-01T00:00:00+00:00", 1),
        ("1970-01-01T00:00:20+00:00", 2),
        ("1970-01-01T00:00:40+00:00", 1),
    ]
    with pytest.raises(InvalidRequest, match="start_time_ms and end_time_ms are required"):
        asked(metrics, "traces", "trace_count", COUNT, interval_s=20)
    assert values(asked(metrics, "traces", "trace_count", COUNT, start_ms=-(2**70), end_ms=2**70)) == [{"COUNT": 6}]


def test_spans_are_measured(metrics: TraceMetrics) -> None:
    count = asked(metrics, "spans", "span_count", COUNT, dimensions=["span_name"])
    assert by(count, "span_name") == {"ask": 6, "open": 6, "root": 6}
    assert by(asked(metrics, "spans", "span_count", COUNT, dimensions=["span_type"]), "span_type") == {
        "CHAIN": 6,
        "LLM": 6,
    }
    assert by(asked(metrics, "spans", "latency", AVG, dimensions=["span_status"]), "span_status") == {
        "ERROR": 5000,
        "OK": 16000 / 11,
    }
    cost = asked(metrics, "spans", "total_cost", SUM, dimensions=["span_model_name"])
    assert by(cost, "span_model_name") == {"m1": 1.5, "m2": 6}
    assert values(asked(metrics, "spans", "total_cost", SUM, start_ms=30_000, end_ms=40_000)) == [{"SUM": 3.5}]
    assert values(asked(metrics, "spans", "total_cost", SUM, start_ms=30_001, end_ms=39_999)) == []


def test_judgements_are_measured(metrics: TraceMetrics) -> None:
    assert values(asked(metrics, "assessments", "assessment_value", AVG)) == [{"AVG": 0.5}]
    counted = by(
        asked(metrics, "assessments", "assessment_count", COUNT, dimensions=["assessment_value"]), "assessment_value"
    )
    assert counted == {"true": 1, "false": 1, '"Yes"': 1, '"no"': 1, "0.5": 1, '"text"': 1}
    assert values(asked(metrics, "assessments", "assessment_count", COUNT, where=["assessment.name = 'good'"])) == [
        {"COUNT": 7}
    ]
    assert values(asked(metrics, "assessments", "assessment_count", COUNT, where=["trace.status = 'ERROR'"])) == [
        {"COUNT": 3}
    ]


@pytest.mark.parametrize(
    ("view", "metric", "where", "count"),
    [
        ("traces", "trace_count", ["trace.status = 'OK'"], 4),
        ("traces", "trace_count", ["trace.tag.team = 'ads'"], 3),
        ("traces", "trace_count", ["trace.tag.`mlflow.traceName` = 'say'"], 2),
        ("traces", "trace_count", ["trace.metadata.mlflow.trace.session = 's1'"], 2),
        ("traces", "trace_count", ["trace.metadata.mlflow.sourceRun = 'r'"], 1),
        ("traces", "trace_count", ["trace.status = 'OK'", "trace.tag.team = 'ads'"], 2),
        ("spans", "span_count", ["span.name = 'ask'"], 6),
        ("spans", "span_count", ["span.type = 'LLM'", "trace.status = 'ERROR'"], 2),
        ("spans", "span_count", ["span.status = 'ERROR'"], 1),
        ("assessments", "assessment_count", ["assessment.type = 'expectation'"], 0),
    ],
)
def test_filters(metrics: TraceMetrics, view: str, metric: str, where: list[str], count: int) -> None:
    assert values(asked(metrics, view, metric, COUNT, where=where)) == [{"COUNT": count}]


@pytest.mark.parametrize(
    ("view", "metric", "how", "also"),
    [
        ("traces", "nonsense", COUNT, {}),
        ("traces", "latency", COUNT, {}),
        ("traces", "latency", Aggregation("percentile"), {}),
        ("traces", "latency", Aggregation("percentile", 101), {}),
        ("traces", "latency", Aggregation("avg", 50), {}),
        ("traces", "latency", AVG, {"dimensions": ["trace_status"]}),
        ("traces", "trace_count", COUNT, {"where": ["span.name = 'a'"]}),
        ("traces", "trace_count", COUNT, {"where": ["trace.status != 'OK'"]}),
        ("traces", "trace_count", COUNT, {"where": ["trace.status = 1"]}),
        ("traces", "trace_count", COUNT, {"where": ["trace.status = 'OK' AND trace.status = 'OK'"]}),
        ("traces", "trace_count", COUNT, {"where": ["trace.tag = 'a'"]}),
        ("traces", "trace_count", COUNT, {"where": ["trace.odd = 'a'"]}),
        ("spans", "span_count", COUNT, {"where": ["span.odd = 'a'"]}),
        ("traces", "trace_count", COUNT, {"interval_s": 0, "start_ms": 0, "end_ms": 1}),
    ],
)
def test_what_is_not_measured_is_refused(
    metrics: TraceMetrics, view: str, metric: str, how: Aggregation, also: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest):
        asked(metrics, view, metric, how, **also)
