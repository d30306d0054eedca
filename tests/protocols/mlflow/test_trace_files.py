"""A trace is downloaded as the file that MLflow's pages and client read."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import httpx2
import mlflow
import pytest
from mlflow.entities import SpanEvent
from mlflow.entities.trace_data import TraceData

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def span(tracking_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")
    mlflow.set_tracking_uri(tracking_url)
    mlflow.tracing.reset()
    mlflow.set_experiment(f"files {uuid.uuid4()}")
    with mlflow.start_span(name="look") as made:
        made.set_attributes({"fruit": "jabłko", "count": 2, "deep": {"a": [True, None]}})
        made.add_event(SpanEvent("seen", timestamp=99_999, attributes={"n": 1}))
    yield made
    mlflow.tracing.reset()


@pytest.mark.parametrize("form", ["2.0", "3.0"])
def test_spans_in_the_file_are_those_that_were_sent(tracking_url: str, span: Any, form: str) -> None:
    path = f"{tracking_url}/ajax-api/{form}/mlflow/get-trace-artifact"
    reply = httpx2.get(path, params={"request_id": span.trace_id})
    assert reply.headers["content-disposition"] == "attachment; filename=traces.json"
    assert [read.to_dict() for read in TraceData.from_dict(reply.json()).spans] == [span.to_dict()]


def test_only_traces_and_attachments_that_are_there_are_given(tracking_url: str, span: Any) -> None:
    path = f"{tracking_url}/ajax-api/3.0/mlflow/get-trace-artifact"
    assert httpx2.get(path).status_code == 400
    assert httpx2.get(path, params={"request_id": "tr-none"}).status_code == 404
    assert httpx2.get(path, params={"request_id": span.trace_id, "path": "x.png"}).status_code == 404
    assert httpx2.get(path, params={"request_id": span.trace_id, "path": "../x.png"}).status_code == 400
    proxy = f"{tracking_url}/api/2.0/mlflow-artifacts/artifacts"
    place = mlflow.get_trace(span.trace_id).info.tags["mlflow.artifactLocation"].removeprefix("mlflow-artifacts:/")
    httpx2.put(f"{proxy}/{place}/attachments/x.png", content=b"png").raise_for_status()
    reply = httpx2.get(path, params={"request_id": span.trace_id, "path": "x.png"})
    assert (reply.content, reply.headers["content-type"]) == (b"png", "image/png")
