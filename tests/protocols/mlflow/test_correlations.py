"""MLflow's client asks how much two filters of traces go together."""

from __future__ import annotations

import math
import uuid

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.tracing.client import TracingClient


@pytest.mark.filterwarnings("ignore")
def test_counts_and_association_are_told(tracking_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")
    mlflow.set_tracking_uri(tracking_url)
    mlflow.tracing.reset()
    client, asking = MlflowClient(tracking_url), TracingClient(tracking_uri=tracking_url)
    experiment = client.create_experiment(f"together {uuid.uuid4()}")
    for number in range(6):
        tags = {"slow": str(number < 3), "failed": str(number < 2), "even": str(number % 2 == 0)}
        span = client.start_trace("t", experiment_id=experiment, tags=tags)
        client.end_trace(span.trace_id)
    mlflow.tracing.reset()

    def found(one: str, two: str, base: str | None = None) -> tuple[float, ...]:
        told = asking.calculate_trace_filter_correlation([experiment], one, two, base)
        return told.total_count, told.filter1_count, told.filter2_count, told.joint_count, told.npmi

    slow, failed = "tags.slow = 'True'", "tags.failed = 'True'"
    assert found(slow, failed) == pytest.approx((6, 3, 2, 2, math.log(2) / math.log(3)))
    assert found(slow, failed, "tags.even = 'True'") == pytest.approx((3, 2, 1, 1, math.log(1.5) / math.log(3)))
    assert found("tags.slow = 'False'", failed)[4] == -1
    assert math.isnan(found("tags.slow = 'never'", failed)[4])
    with pytest.raises(MlflowException, match="Invalid"):
        found("nothing.like = 'this'", failed)
    with pytest.raises(MlflowException, match="Missing value for required parameter 'filter_string1'"):
        found("", failed)
