"""OpenTelemetry's export of traces read as our spans: protobuf or JSON, plain or compressed.

What its attributes mean to the whole trace follows MLflow's own conventions: inputs and outputs of the root span are
the previews, ``session.id`` and ``user.id`` are metadata, the resource's attributes become tags.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mainspring.core.errors import InvalidData, InvalidRequest, TooLarge
from mainspring.protocols.mlflow.previews import preview_of
from mainspring.protocols.mlflow.span_wire import TRACE_PREFIX
from mainspring.protocols.mlflow.totals import counts
from mainspring.traces.model import MAX_KEY_CHARS, Origin, Span, SpanEvent, SpanLink, SpanStatus, TraceSpans

if TYPE_CHECKING:  # It takes 60 ms and 6 MB, which only those pay who are sent traces.
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue
    from opentelemetry.proto.common.v1.common_pb2 import KeyValue as KeyValueMessage
    from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

_IDS = ("traceId", "spanId", "parentSpanId")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+")
_STATUSES: dict[int, SpanStatus] = {0: "unset", 1: "ok", 2: "error"}
_TAG_PREFIX = "mlflow.traceTag."
_NO_TAGS = ("telemetry.sdk.", "mlflow.")
_SESSIONS = ("session.id", "gen_ai.conversation.id")


def decompressed(body: bytes, encoding: str | None, most: int) -> bytes:
    """Undo the content encoding of a body; raises InvalidRequest, and TooLarge for what grows beyond *most* bytes."""
    if not encoding or encoding == "identity":
        return body
    if encoding == "gzip":
        return _inflated(body, zlib.MAX_WBITS | 16, most, encoding)
    if encoding != "deflate":
        raise InvalidRequest(f"Unsupported Content-Encoding: {encoding}; send gzip, deflate or none")
    try:
        return _inflated(body, zlib.MAX_WBITS, most, encoding)
    except InvalidRequest:
        # Some clients leave out the header that belongs to it.
        return _inflated(body, -zlib.MAX_WBITS, most, encoding)


def _inflated(body: bytes, bits: int, most: int, encoding: str) -> bytes:
    reader = zlib.decompressobj(bits)
    try:
        whole = reader.decompress(body, most + 1)
    except zlib.error:
        raise InvalidRequest(f"Failed to decompress {encoding} payload") from None
    if len(whole) > most:
        raise TooLarge(f"the body is larger than {most} bytes when it is decompressed; send less at once")
    if not reader.eof:
        raise InvalidRequest(f"Failed to decompress {encoding} payload: it is cut off")
    return whole


def read_export(body: bytes, *, is_json: bool, run: str | None) -> list[TraceSpans]:
    """Read an export as the spans of each trace in it.

    Raises InvalidRequest for what is no export, InvalidData for a span without ids.
    """
    request = _message(body, is_json)
    if not request.resource_spans:
        raise InvalidRequest("Invalid OpenTelemetry format - no spans found")
    found: dict[str, list[Span]] = {}
    for of_resource in request.resource_spans:
        resource = _attributes(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            scope = of_scope.scope
            origin = Origin(resource, scope.name, scope.version, _attributes(scope.attributes))
            for message in of_scope.spans:
                span = _span(message, origin)
                found.setdefault(span.otel_trace, []).append(span)
    return [_whole(otel_trace, spans, run) for otel_trace, spans in found.items()]


def _message(body: bytes, is_json: bool) -> ExportTraceServiceRequest:
    from google.protobuf.json_format import Error, ParseDict
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest()
    try:
        if is_json:
            ParseDict(_with_ids(json.loads(body)), request, ignore_unknown_fields=True)
        else:
            request.ParseFromString(body)
    except (DecodeError, Error, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidRequest(f"Invalid OpenTelemetry format: {str(error)[:200]}") from None
    return request


def _with_ids(said: Any) -> Any:
    # OpenTelemetry writes ids in hexadecimal where protobuf's JSON has base64.
    for of_resource in said.get("resourceSpans", []):
        for of_scope in of_resource.get("scopeSpans", []):
            for span in of_scope.get("spans", []):
                for one in (span, *span.get("links", [])):
                    for name in _IDS:
                        if text := one.get(name):
                            if not _HEX.fullmatch(text):
                                raise ValueError(f"{name} is {text!r}, expected hexadecimal digits")
                            one[name] = base64.b64encode(bytes.fromhex(text)).decode()
    return said


def _span(message: SpanMessage, origin: Origin) -> Span:
    if not 0 < len(message.trace_id) <= 16 or not 0 < len(message.span_id) <= 8:
        raise InvalidData("Cannot convert OpenTelemetry span: it needs a trace id of 16 bytes and a span id of 8")
    attributes = _attributes(message.attributes)
    kind = attributes.get("mlflow.spanType")
    return Span(
        otel_trace=message.trace_id.hex().zfill(32),
        id=message.span_id.hex().zfill(16),
        parent=message.parent_span_id.hex().zfill(16) if message.parent_span_id else None,
        name=message.name,
        type=kind if isinstance(kind, str) else None,
        kind=int(message.kind),
        started_ns=message.start_time_unix_nano,
        ended_ns=message.end_time_unix_nano or None,
        status=_STATUSES.get(int(message.status.code), "unset"),
        message=message.status.message,
        attributes=attributes,
        events=[
            SpanEvent(event.name, event.time_unix_nano, _attributes(event.attributes), event.dropped_attributes_count)
            for event in message.events
        ],
        links=[
            SpanLink(
                link.trace_id.hex().zfill(32),
                link.span_id.hex().zfill(16),
                _attributes(link.attributes),
                link.trace_state,
                link.dropped_attributes_count,
                link.flags,
            )
            for link in message.links
        ],
        state=message.trace_state,
        flags=message.flags,
        dropped_attributes=message.dropped_attributes_count,
        dropped_events=message.dropped_events_count,
        dropped_links=message.dropped_links_count,
        origin=origin,
    )


def _attributes(pairs: Iterable[KeyValueMessage]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    match value.WhichOneof("value"):
        case None:
            return None
        case "array_value":
            return [_value(item) for item in value.array_value.values]
        case "kvlist_value":
            return _attributes(value.kvlist_value.values)
        case name:
            return getattr(value, name)


# What spans say of the whole


def _whole(otel_trace: str, spans: list[Span], run: str | None) -> TraceSpans:
    root = next((span for span in spans if span.parent is None), None)
    said = {} if root is None else root.attributes
    tags = _resource_tags(spans)
    for key, value in said.items():
        if key.startswith(_TAG_PREFIX) and key[len(_TAG_PREFIX) :]:
            tags[key[len(_TAG_PREFIX) :]] = _text(value)
    return TraceSpans(
        trace=TRACE_PREFIX + otel_trace,
        spans=spans,
        tags={key: value for key, value in tags.items() if len(key) <= MAX_KEY_CHARS and key.isprintable()},
        metadata=_known(spans),
        request=preview_of(said.get("mlflow.spanInputs"), "user"),
        response=preview_of(said.get("mlflow.spanOutputs"), "assistant"),
        run=run if root is not None else None,
        counts=any(counts(span) for span in spans),
    )


def _resource_tags(spans: list[Span]) -> dict[str, str]:
    resource: Mapping[str, Any] = next((span.origin.resource for span in spans if span.origin.resource), {})
    return {key: _text(value) for key, value in resource.items() if key and not key.startswith(_NO_TAGS)}


def _known(spans: list[Span]) -> dict[str, str]:
    known: dict[str, str] = {}
    for span in spans:
        for names, key in ((_SESSIONS, "mlflow.trace.session"), (("user.id",), "mlflow.trace.user")):
            value = next((span.attributes[name] for name in names if span.attributes.get(name)), None)
            if value is not None:
                known.setdefault(key, _text(value))
    return known


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return json.dumps(value, ensure_ascii=False, default=str)
