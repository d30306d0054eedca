"""Spans as MLflow's clients read them: OpenTelemetry's message in JSON, with its names as they are declared."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from mainspring.traces.model import Span

STATUS = {"unset": "STATUS_CODE_UNSET", "ok": "STATUS_CODE_OK", "error": "STATUS_CODE_ERROR"}
_KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
TRACE_PREFIX = "tr-"


class StatusWire(msgspec.Struct, frozen=True):
    """How a span ended."""

    code: str
    message: str | UnsetType = UNSET


class KeyValue(msgspec.Struct, frozen=True):
    """An attribute; its value is an object with one field, named for the type."""

    key: str
    value: dict[str, Any]


class EventWire(msgspec.Struct, frozen=True):
    """Something that happened within a span."""

    time_unix_nano: int
    name: str
    attributes: list[KeyValue]


class LinkWire(msgspec.Struct, frozen=True):
    """A span of another trace."""

    trace_id: str
    span_id: str
    attributes: list[KeyValue]
    trace_state: str | UnsetType = UNSET
    flags: int | UnsetType = UNSET


class SpanWire(msgspec.Struct, frozen=True):
    """A span; ids are bytes in base64."""

    trace_id: str
    span_id: str
    name: str
    kind: str | int
    start_time_unix_nano: int
    attributes: list[KeyValue]
    events: list[EventWire]
    links: list[LinkWire]
    status: StatusWire
    end_time_unix_nano: int | UnsetType = UNSET
    parent_span_id: str | UnsetType = UNSET
    trace_state: str | UnsetType = UNSET
    flags: int | UnsetType = UNSET


def span_told(span: Span) -> SpanWire:
    """Give a span as it is told."""
    return SpanWire(
        trace_id=base64_of(span.otel_trace),
        span_id=base64_of(span.id),
        parent_span_id=UNSET if span.parent is None else base64_of(span.parent),
        name=span.name,
        kind=f"SPAN_KIND_{_KINDS[span.kind]}" if span.kind in range(len(_KINDS)) else span.kind,
        start_time_unix_nano=span.started_ns,
        end_time_unix_nano=UNSET if span.ended_ns is None else span.ended_ns,
        attributes=_attributes(span.attributes),
        events=[EventWire(event.at_ns, event.name, _attributes(event.attributes)) for event in span.events],
        links=[
            LinkWire(
                base64_of(link.trace),
                base64_of(link.span),
                _attributes(link.attributes),
                link.state or UNSET,
                link.flags,
            )
            for link in span.links
        ],
        status=StatusWire(STATUS[span.status], span.message or UNSET),
        trace_state=span.state or UNSET,
        flags=span.flags or UNSET,
    )


def base64_of(hexadecimal: str) -> str:
    """Give an id as its bytes are written."""
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()


def _attributes(attributes: Mapping[str, Any]) -> list[KeyValue]:
    return [KeyValue(key, _value(value)) for key, value in attributes.items()]


def _value(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if isinstance(value, bool):
        return {"bool_value": value}
    if isinstance(value, str):
        return {"string_value": value}
    if isinstance(value, int):
        return {"int_value": value}
    if isinstance(value, float):
        return {"double_value": value if math.isfinite(value) else _INFINITE.get(value, "NaN")}
    if isinstance(value, bytes):
        return {"bytes_value": base64.b64encode(value).decode()}
    if isinstance(value, list):
        return {"array_value": {"values": [_value(item) for item in value]}}
    return {"kvlist_value": {"values": _attributes(value)}}


_INFINITE = {math.inf: "Infinity", -math.inf: "-Infinity"}
