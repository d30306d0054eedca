"""OpenTelemetry's exporters send spans here, which are kept whole, once, and all of a batch or none."""

from __future__ import annotations

import gzip
import json
import math
import uuid
import zlib
from typing import Any

import httpx2
import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Trace
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, format_trace_id

PROTOBUF = "application/x-protobuf"


@pytest.fixture
def client(tracking_url: str) -> MlflowClient:
    mlflow.set_tracking_uri(tracking_url)
    return MlflowClient(tracking_url)


@pytest.fixture
def experiment(client: MlflowClient) -> str:
    return str(client.create_experiment(f"exports of {uuid.uuid4()}"))


def export(trace: bytes | None = None, **span: Any) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    spans.add(
        **{
            "trace_id": trace or uuid.uuid4().bytes,
            "span_id": uuid.uuid4().bytes[:8],
            "name": "step",
            "start_time_unix_nano": 1_700_000_000_123_456_789,
            "end_time_unix_nano": 1_700_000_001_123_456_790,
        }
        | span
    )
    return request


def send(url: str, experiment: str, body: bytes, kind: str = PROTOBUF, **headers: str) -> httpx2.Response:
    told = {"content-type": kind, "x-mlflow-experiment-id": experiment}
    return httpx2.post(
        f"{url}/v1/traces", content=body, headers=told | {k.replace("_", "-"): v for k, v in headers.items()}
    )


def found(client: MlflowClient, experiment: str, **options: Any) -> list[Trace]:
    return list(client.search_traces(locations=[experiment], **options))


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip, Compression.Deflate])
def test_what_an_exporter_sends_is_read_back_by_mlflow(
    tracking_url: str, client: MlflowClient, experiment: str, compression: Compression
) -> None:
    exporter = OTLPSpanExporter(
        f"{tracking_url}/v1/traces", headers={"x-mlflow-experiment-id": experiment}, compression=compression
    )
    provider = TracerProvider(resource=Resource({"service.name": "shop", "replicas": 3}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("lib", "1.2")
    with tracer.start_as_current_span("before") as before:
        linked = before.get_span_context()
    with tracer.start_as_current_span("request", kind=SpanKind.SERVER, links=[Link(linked, {"why": "x"})]) as root:
        root.set_attributes({"session.id": "s1", "user.id": "u1", "many": [1, 2], "real": 2.0, "yes": True})
        with tracer.start_as_current_span("query") as child:
            child.add_event("row", {"n": 1}, timestamp=1_700_000_000_123_456_789)
            child.set_status(Status(StatusCode.ERROR, "slow"))
    provider.shutdown()
    trace = client.get_trace(f"tr-{format_trace_id(root.get_span_context().trace_id)}")
    top, below = trace.data.spans
    assert (top.name, below.name, below.parent_id) == ("request", "query", top.span_id)
    assert {key: top.attributes[key] for key in ("many", "real", "yes")} == {"many": [1, 2], "real": 2.0, "yes": True}
    assert (below.status.status_code.name, below.status.description) == ("ERROR", "slow")
    assert (below.events[0].name, below.events[0].timestamp) == ("row", 1_700_000_000_123_456_789)
    assert [(link.trace_id, link.attributes) for link in top.links] == [
        (f"tr-{format_trace_id(linked.trace_id)}", {"why": "x"})
    ]
    info = trace.info
    assert (info.state.value, info.experiment_id) == ("OK", experiment)
    assert (info.tags["service.name"], info.tags["replicas"]) == ("shop", "3")
    assert not any(key.startswith("telemetry.sdk") for key in info.tags)
    assert (info.trace_metadata["mlflow.trace.session"], info.trace_metadata["mlflow.trace.user"]) == ("s1", "u1")
    assert len(found(client, experiment)) == 2


def test_json_is_read_as_protobuf_is(tracking_url: str, client: MlflowClient, experiment: str) -> None:
    trace, span, parent, other = (uuid.uuid4().hex for _ in range(4))
    body = {
        "resourceSpans": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "js"}}]},
                "scopeSpans": [
                    {
                        "spans": [
                            {
                                "traceId": trace.upper(),
                                "spanId": span[:16],
                                "parentSpanId": parent[:16],
                                "name": "from a browser",
                                "kind": 3,
                                "startTimeUnixNano": "1700000000123456789",
                                "endTimeUnixNano": "1700000001123456790",
                                "attributes": [
                                    {"key": "n", "value": {"intValue": "9007199254740993"}},
                                    {"key": "nan", "value": {"doubleValue": "NaN"}},
                                    {"key": "m", "value": {"kvlistValue": {"values": [{"key": "a", "value": {}}]}}},
                                ],
                                "links": [{"traceId": other, "spanId": parent[:16]}],
                                "status": {"code": 2, "message": "no"},
                                "unknown": 1,
                            }
                        ]
                    }
                ],
            }
        ]
    }
    sent = send(tracking_url, experiment, json.dumps(body).encode(), "application/json; charset=utf-8")
    assert (sent.status_code, sent.json()) == (200, {})
    (read,) = client.get_trace(f"tr-{trace}").data.spans
    assert (read.span_id, read.parent_id, read.start_time_ns) == (span[:16], parent[:16], 1_700_000_000_123_456_789)
    assert read.end_time_ns == 1_700_000_001_123_456_790
    assert (read.attributes["n"], read.attributes["m"]) == (9_007_199_254_740_993, {"a": None})
    assert math.isnan(read.attributes["nan"])
    assert read.links[0].trace_id == f"tr-{other}"


def test_spans_sent_again_are_there_once(tracking_url: str, client: MlflowClient, experiment: str) -> None:
    trace = uuid.uuid4().bytes
    body = export(trace).SerializeToString()
    for _ in range(3):
        assert send(tracking_url, experiment, body).status_code == 200
    assert send(tracking_url, experiment, export(trace).SerializeToString()).status_code == 200
    (read,) = found(client, experiment)
    assert (read.info.trace_id, len(read.data.spans)) == (f"tr-{trace.hex()}", 2)
    assert (read.info.request_time, read.info.execution_duration) == (1_700_000_000_123, 1_000)


def test_tags_previews_and_the_run_come_with_the_root(tracking_url: str, client: MlflowClient, experiment: str) -> None:
    run = client.create_run(experiment).info.run_id
    request = export()
    span = request.resource_spans[0].scope_spans[0].spans[0]
    chat = '{"messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hello"}]}'
    for key, value in {"mlflow.spanInputs": chat, "mlflow.traceTag.team": "ads", "mlflow.spanType": "LLM"}.items():
        span.attributes.add(key=key).value.string_value = value
    body = request.SerializeToString()
    assert send(tracking_url, experiment, body, x_mlflow_run_id=run).status_code == 200
    assert send(tracking_url, experiment, export().SerializeToString(), x_mlflow_run_id="none").status_code == 200
    (read,) = found(client, experiment, run_id=run)
    assert (read.info.request_preview, read.info.tags["team"]) == ("hello", "ads")
    assert len(found(client, experiment, filter_string="span.type = 'LLM'")) == 1
    assert len(found(client, experiment)) == 2


def test_tokens_and_cost_are_summed_over_the_trace_once(
    tracking_url: str, client: MlflowClient, experiment: str
) -> None:
    trace, agent, call, other = uuid.uuid4().bytes, b"1" * 8, b"2" * 8, b"3" * 8
    usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    for id, parent, told in ((call, agent, usage), (agent, b"", usage), (other, b"", {})):
        request = export(trace, span_id=id, parent_span_id=parent)
        attributes = request.resource_spans[0].scope_spans[0].spans[0].attributes
        if told:
            attributes.add(key="mlflow.chat.tokenUsage").value.string_value = json.dumps(told)
            attributes.add(key="mlflow.llm.cost").value.string_value = '{"total_cost": 0.5}'
        else:
            attributes.add(key="gen_ai.usage.input_tokens").value.int_value = 10
        for _ in range(2):
            assert send(tracking_url, experiment, request.SerializeToString()).status_code == 200
    (read,) = found(client, experiment)
    assert read.info.token_usage == {"input_tokens": 13, "output_tokens": 4, "total_tokens": 17}
    assert read.info.cost == {"input_cost": 0, "output_cost": 0, "total_cost": 0.5}


def test_an_export_without_an_experiment_is_refused(tracking_url: str) -> None:
    body = export().SerializeToString()
    answer = httpx2.post(f"{tracking_url}/v1/traces", content=body, headers={"content-type": PROTOBUF})
    assert answer.status_code == 422 and "x-mlflow-experiment-id" in answer.json()["message"]
    answer = send(tracking_url, "none", body)
    assert (answer.status_code, answer.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert httpx2.get(f"{tracking_url}/v1/traces").status_code == 405


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"trace_id": b""}, 422),
        ({"span_id": b""}, 422),
        ({"trace_id": b"x" * 17}, 422),
        ({"start_time_unix_nano": 2**63}, 422),
        ({"end_time_unix_nano": 2**64 - 1}, 422),
    ],
)
def test_one_wrong_span_keeps_out_the_whole_batch(
    tracking_url: str, client: MlflowClient, experiment: str, wrong: dict[str, Any], status: int
) -> None:
    request = export()
    request.MergeFrom(export(**wrong))
    assert send(tracking_url, experiment, request.SerializeToString()).status_code == status
    assert found(client, experiment) == []


@pytest.mark.parametrize(
    ("body", "kind", "headers"),
    [
        (b"", PROTOBUF, {}),
        (b"\xff\xff", PROTOBUF, {}),
        (b"{}", "application/json", {}),
        (b"[]", "application/json", {}),
        (b"{", "application/json", {}),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "xyz"}]}]}]}', "application/json", {}),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"name": 1}]}]}]}', "application/json", {}),
        (b"[" * 100_000, "application/json", {}),
        (export().SerializeToString(), "text/plain", {}),
        (export().SerializeToString(), PROTOBUF, {"content_encoding": "gzip"}),
        (export().SerializeToString(), PROTOBUF, {"content_encoding": "deflate"}),
        (export().SerializeToString(), PROTOBUF, {"content_encoding": "br"}),
        (gzip.compress(export().SerializeToString())[:-9], PROTOBUF, {"content_encoding": "gzip"}),
    ],
    ids=range(13),
)
def test_what_is_no_export_is_refused(
    tracking_url: str, experiment: str, body: bytes, kind: str, headers: dict[str, str]
) -> None:
    answer = send(tracking_url, experiment, body, kind, **headers)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_a_body_that_grows_without_end_when_it_is_decompressed_is_refused(tracking_url: str, experiment: str) -> None:
    bomb = gzip.compress(bytes(200 << 20), 9)
    assert len(bomb) < 1 << 20
    assert send(tracking_url, experiment, bomb, content_encoding="gzip").status_code == 413


def test_deflate_without_its_header_is_read_too(tracking_url: str, client: MlflowClient, experiment: str) -> None:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    body = packer.compress(export().SerializeToString()) + packer.flush()
    assert send(tracking_url, experiment, body, content_encoding="deflate").status_code == 200
    assert len(found(client, experiment)) == 1
