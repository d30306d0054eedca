"""``traces/...`` in their second form, in which clients before 3.0 start, end, read and find them."""

from __future__ import annotations

from uuid import uuid4

import msgspec
from msgspec import UNSET, UnsetType

from mainspring.core.errors import InvalidRequest
from mainspring.protocols.mlflow.calls import CallList, Services
from mainspring.protocols.mlflow.span_wire import TRACE_PREFIX
from mainspring.protocols.mlflow.trace_wire import SOURCE_RUN, info_told
from mainspring.protocols.mlflow.traces import require_experiment
from mainspring.traces.model import Trace, TraceState

calls = CallList()

_STATES: dict[str | int, TraceState] = {
    "TRACE_STATUS_UNSPECIFIED": "unspecified",
    "OK": "ok",
    "ERROR": "error",
    "IN_PROGRESS": "in_progress",
    0: "unspecified",
    1: "ok",
    2: "error",
    3: "in_progress",
}
_NAMES = {state: name for name, state in _STATES.items() if isinstance(name, str)}


class Pair(msgspec.Struct, frozen=True):
    """A tag, or what is known otherwise."""

    key: str
    value: str = ""


class Info(msgspec.Struct, frozen=True):
    """What is known of a trace."""

    request_id: str
    experiment_id: str
    timestamp_ms: int
    status: str
    request_metadata: list[Pair]
    tags: list[Pair]
    execution_time_ms: int | UnsetType = UNSET


class InfoAnswer(msgspec.Struct, frozen=True):
    """One trace."""

    trace_info: Info


class Start(msgspec.Struct):
    """A trace that begins."""

    experiment_id: str
    timestamp_ms: int
    request_metadata: list[Pair] = []
    tags: list[Pair] = []


class End(msgspec.Struct):
    """How a trace ended, and what is known since it began."""

    request_id: str
    timestamp_ms: int
    status: str | int
    request_metadata: list[Pair] = []
    tags: list[Pair] = []


class ById(msgspec.Struct):
    """Which trace is asked for."""

    request_id: str


class Search(msgspec.Struct):
    """Which traces are looked for, in which order."""

    experiment_ids: list[str]
    filter: str = ""
    max_results: int = 100
    order_by: list[str] = []
    page_token: str = ""


class Page(msgspec.Struct, frozen=True, omit_defaults=True):
    """Traces that were found."""

    traces: list[Info] = []
    next_page_token: str | None = None


@calls.on("POST", "traces")
def start(services: Services, ask: Start) -> InfoAnswer:
    """Begin a trace; it gets its id here."""
    require_experiment(services, ask.experiment_id)
    fresh = Trace(
        TRACE_PREFIX + uuid4().hex,
        ask.experiment_id,
        ask.timestamp_ms,
        state="in_progress",
        metadata=_texts(ask.request_metadata),
        tags=_texts(ask.tags),
    )
    return _kept(services, fresh)


@calls.on("PATCH", "traces/{request_id}")
def end(services: Services, ask: End) -> InfoAnswer:
    """End a trace; what is told now is added to what was told when it began."""
    if ask.status not in _STATES:
        raise InvalidRequest(f"status is {ask.status!r}, expected one of {', '.join(_NAMES.values())}")
    found = services.traces.get_trace(ask.request_id)
    ended = msgspec.structs.replace(
        found,
        duration_ms=ask.timestamp_ms - found.started_ms,
        state=_STATES[ask.status],
        metadata=_texts(ask.request_metadata),
        tags=_texts(ask.tags),
        assessments=[],
    )
    return _kept(services, ended)


@calls.on("GET", "traces/{request_id}/info")
def get_info(services: Services, ask: ById) -> InfoAnswer:
    """Get what is known of a trace."""
    return InfoAnswer(_told(services, services.traces.get_trace(ask.request_id)))


@calls.on("GET", "traces")
def search(services: Services, ask: Search) -> Page:
    """Find traces of experiments."""
    page = services.traces.search_traces(
        ask.experiment_ids, ask.filter, ask.order_by, ask.max_results, ask.page_token or None
    )
    return Page([_told(services, trace) for trace in page.traces], page.next_page)


def _kept(services: Services, trace: Trace) -> InfoAnswer:
    kept = services.traces.put_trace(trace, run=trace.metadata.get(SOURCE_RUN) or None)
    return InfoAnswer(_told(services, kept))


def _told(services: Services, trace: Trace) -> Info:
    told = info_told(trace, services.tracking.experiments.get(trace.experiment).artifact_uri)
    return Info(
        trace.id,
        trace.experiment,
        trace.started_ms,
        _NAMES[trace.state],
        [Pair(key, value) for key, value in trace.metadata.items()],
        [Pair(key, value) for key, value in told.tags.items()],
        UNSET if trace.duration_ms is None else trace.duration_ms,
    )


def _texts(pairs: list[Pair]) -> dict[str, str]:
    return {pair.key: pair.value for pair in pairs}
