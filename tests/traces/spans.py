"""Spans and traces for the tests."""

from __future__ import annotations

from typing import Any

from mainspring.traces.model import Span, SpanStatus, Trace, TraceSpans

SECOND_NS = 1_000_000_000


def span(
    id: str = "a" * 16,
    *,
    at_s: int = 1000,
    took_s: int | None = 2,
    parent: str | None = None,
    status: SpanStatus = "ok",
    name: str = "step",
    type: str | None = None,
    **attributes: Any,
) -> Span:
    ended = None if took_s is None else (at_s + took_s) * SECOND_NS
    return Span(
        "0" * 32, id, name, at_s * SECOND_NS, ended, parent=parent, status=status, type=type, attributes=attributes
    )


def came(trace: str, *spans: Span, **also: Any) -> TraceSpans:
    return TraceSpans(trace, list(spans), **also)


def trace(id: str, at_ms: int = 0, experiment: str = "e", **also: Any) -> Trace:
    return Trace(id, experiment, at_ms, **({"state": "ok"} | also))
