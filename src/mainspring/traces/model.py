"""What is kept of a trace: its spans whole, what is known of it as one thing, and the judgements about it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

MAX_KEY_CHARS = 250
MAX_VALUE_CHARS = 8000
MAX_PREVIEW_CHARS = 1000
MAX_BATCH = 1000
"""How many traces one call may name."""
MAX_PAGE = 500
MAX_LINKS = 100

NAME_TAG = "mlflow.traceName"
"""The tag that names a trace, as tracing clients set it; filters call it ``name``."""

TraceState = Literal["unspecified", "ok", "error", "in_progress"]
SpanStatus = Literal["unset", "ok", "error"]
AssessmentKind = Literal["feedback", "expectation", "issue"]
LinkKind = Literal["run", "prompt"]


class SpanEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that happened within a span."""

    name: str
    at_ns: int
    attributes: dict[str, Any] = {}
    dropped_attributes: int = 0


class SpanLink(msgspec.Struct, frozen=True, omit_defaults=True):
    """A span of another trace that has to do with this one."""

    trace: str
    span: str
    attributes: dict[str, Any] = {}
    state: str = ""
    dropped_attributes: int = 0
    flags: int = 0


class Origin(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who wrote a span: the resource, and the library (scope) within it."""

    resource: dict[str, Any] = {}
    scope: str = ""
    scope_version: str = ""
    scope_attributes: dict[str, Any] = {}


class Span(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step of a trace, with all that OpenTelemetry tells of it.

    ``otel_trace`` and ``id`` are lower-case hexadecimal. An attribute is null, a bool, an int, a float, a text, bytes,
    a list or a mapping of these. ``ended_ns`` is None while the step goes on.
    """

    otel_trace: str
    id: str
    name: str
    started_ns: int
    ended_ns: int | None = None
    parent: str | None = None
    type: str | None = None
    kind: int = 0
    status: SpanStatus = "unset"
    message: str = ""
    attributes: dict[str, Any] = {}
    events: list[SpanEvent] = []
    links: list[SpanLink] = []
    state: str = ""
    flags: int = 0
    dropped_attributes: int = 0
    dropped_events: int = 0
    dropped_links: int = 0
    origin: Origin = Origin()


class Assessment(msgspec.Struct, frozen=True):
    """A judgement about a trace or one of its spans: feedback, an expectation, or the issue that it shows.

    ``valid`` is False once another overrides it.
    """

    id: str
    trace: str
    name: str
    kind: AssessmentKind
    source_type: str
    value: Any = None
    error: dict[str, str] | None = None
    source_id: str | None = None
    span: str | None = None
    rationale: str | None = None
    metadata: dict[str, str] = {}
    created_ms: int = 0
    updated_ms: int = 0
    overrides: str | None = None
    valid: bool = True


class Trace(msgspec.Struct, frozen=True):
    """What is known of a trace as a whole; ``started_ms`` counts from 1970 in UTC.

    ``complete``: its writer has said what it knows of it, so spans that come later change none of that. ``has_spans``
    tells whether any came yet.
    """

    id: str
    experiment: str
    started_ms: int
    duration_ms: int | None = None
    state: TraceState = "unspecified"
    client_request: str | None = None
    request: str | None = None
    response: str | None = None
    complete: bool = False
    has_spans: bool = False
    tags: dict[str, str] = {}
    metadata: dict[str, str] = {}
    assessments: list[Assessment] = []


class TraceSpans(msgspec.Struct, frozen=True):
    """Spans of one trace that came together, and what they say of the whole.

    ``tags`` replace those of the same key; ``metadata``, ``request`` and ``response`` only fill what is not there yet.
    ``counts``: the spans count something, such as tokens, so what is summed over the whole trace changes.
    """

    trace: str
    spans: list[Span]
    tags: dict[str, str] = {}
    metadata: dict[str, str] = {}
    request: str | None = None
    response: str | None = None
    run: str | None = None
    counts: bool = False


class TracePage(msgspec.Struct, frozen=True):
    """Some traces without their spans, and the token of the next page if there is one."""

    traces: list[Trace]
    next_page: str | None = None
