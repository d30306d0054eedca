"""MLflow's client asks here what many traces say together, as it asks its own server."""

from __future__ import annotations

import mlflow
import pytest
from mlflow.entities.trace_metrics import AggregationType, MetricAggregation, MetricViewType
from mlflow.exceptions import MlflowException

import mainspring

pytestmark = pytest.mark.filterwarnings("ignore")


@mlflow.trace
def double(number: int) -> int:
    if number == 3:
        raise ValueError("three")
    return 2 * number


@pytest.fixture
def experiment(traced_experiment: str) -> str:
    for number in range(4):
        try:
            double(number)
        except ValueError:
            pass
    return traced_experiment


def store() -> object:
    return mlflow.MlflowClient()._tracing_client.store


def test_traces_are_counted_by_their_status(experiment: str) -> None:
    points = store().query_trace_metrics(
        experiment_ids=[experiment],
        view_type=MetricViewType.TRACES,
        metric_name="trace_count",
        aggregations=[MetricAggregation(AggregationType.COUNT)],
        dimensions=["trace_status"],
    )
    assert {point.dimensions["trace_status"]: point.values["COUNT"] for point in points} == {"OK": 3, "ERROR": 1}
    (first,) = page = store().query_trace_metrics(
        experiment_ids=[experiment],
        view_type=MetricViewType.TRACES,
        metric_name="trace_count",
        aggregations=[MetricAggregation(AggregationType.COUNT)],
        dimensions=["trace_status"],
        max_results=1,
    )
    assert page.token and first.dimensions == {"trace_status": "ERROR"}


def test_latencies_have_percentiles_over_time(experiment: str) -> None:
    (point,) = store().query_trace_metrics(
        experiment_ids=[experiment],
        view_type=MetricViewType.SPANS,
        metric_name="latency",
        aggregations=[MetricAggregation(AggregationType.PERCENTILE, 50), MetricAggregation(AggregationType.MAX)],
        filters=["span.name = 'double'"],
        time_interval_seconds=10**9,
        start_time_ms=0,
        end_time_ms=2 * 10**12,
    )
    assert point.values["P50.0"] <= point.values["MAX"]
    assert point.dimensions["time_bucket"].endswith("+00:00")


def test_what_is_not_measured_is_refused(experiment: str) -> None:
    with pytest.raises(MlflowException, match="metric_name must be one of"):
        store().query_trace_metrics(
            experiment_ids=[experiment],
            view_type=MetricViewType.TRACES,
            metric_name="nonsense",
            aggregations=[MetricAggregation(AggregationType.COUNT)],
        )


def test_traces_are_there_by_our_own_api(tracking_url: str, experiment: str) -> None:
    with mainspring.connect(tracking_url) as session:
        page = session.traces.search_traces([experiment], "status = 'ERROR'")
        (failed,) = page.traces
        assert [span.name for span in session.traces.list_spans(failed.id)] == ["double"]
        session.traces.set_tag(failed.id, "seen/by", "me")
        assert mlflow.get_trace(failed.id).info.tags["seen/by"] == "me"
        session.traces.delete_tag(failed.id, "seen/by")
        assert "seen/by" not in session.traces.get_trace(failed.id).tags
        assert session.traces.delete_traces(experiment, [failed.id]) == 1
        assert session.traces.search_traces([experiment], "status = 'ERROR'").traces == []
