"""Traces as MLflow's clients write and read them: what is known of the whole, without and with its spans."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec
from msgspec import UNSET, UnsetType

from mainspring.core.errors import InvalidRequest
from mainspring.protocols.mlflow.assessment_wire import AssessmentWire, assessment_read, assessment_told
from mainspring.protocols.mlflow.moments import duration_of, duration_text, milliseconds_of, moment_text
from mainspring.protocols.mlflow.span_wire import SpanWire, span_told
from mainspring.traces.model import Span, Trace, TraceState

SOURCE_RUN = "mlflow.sourceRun"
_ARTIFACTS, _SPANS_AT = "mlflow.artifactLocation", "mlflow.trace.spansLocation"
_FINALIZED, _SIZES = "mlflow.trace.infoFinalized", "mlflow.trace.sizeStats"
OURS = (_SPANS_AT, "mlflow.trace.archiveLocation", "mlflow.trace.archivalFailure")
"""Tags that say how a trace is stored: no client sets them."""
_STATES: dict[str | int, TraceState] = {
    "STATE_UNSPECIFIED": "unspecified",
    "OK": "ok",
    "ERROR": "error",
    "IN_PROGRESS": "in_progress",
    0: "unspecified",
    1: "ok",
    2: "error",
    3: "in_progress",
}
_STATE_NAMES = {state: name for name, state in _STATES.items() if isinstance(name, str)}


class ExperimentLocation(msgspec.Struct, frozen=True):
    """An experiment as the place of a trace."""

    experiment_id: str = ""


class Location(msgspec.Struct, frozen=True):
    """The place of a trace; here always an experiment."""

    type: str | int = "MLFLOW_EXPERIMENT"
    mlflow_experiment: ExperimentLocation | UnsetType | None = UNSET

    @property
    def experiment(self) -> str:
        """Give the id of the experiment; raises InvalidRequest for a place of another kind."""
        if not isinstance(self.mlflow_experiment, ExperimentLocation) or not self.mlflow_experiment.experiment_id:
            raise InvalidRequest("Missing value for required parameter 'experiment_id' of the trace's location")
        return self.mlflow_experiment.experiment_id


class InfoWire(msgspec.Struct, frozen=True):
    """What is known of a trace as a whole."""

    trace_id: str
    trace_location: Location
    request_time: str = "1970-01-01T00:00:00Z"
    state: str | int = "STATE_UNSPECIFIED"
    client_request_id: str | UnsetType = UNSET
    request_preview: str | UnsetType = UNSET
    response_preview: str | UnsetType = UNSET
    execution_duration: str | UnsetType = UNSET
    trace_metadata: dict[str, str] = {}
    tags: dict[str, str] = {}
    assessments: list[AssessmentWire] = []


class TraceWire(msgspec.Struct, frozen=True):
    """A trace, with its spans where they are asked for."""

    trace_info: InfoWire
    spans: list[SpanWire] | UnsetType = UNSET


class StatedTrace(msgspec.Struct, frozen=True):
    """A trace as a client states it: its spans travel by themselves."""

    trace_info: InfoWire


def info_read(wire: InfoWire) -> Trace:
    """Give the trace that is stated; raises InvalidRequest."""
    if wire.state not in _STATES:
        raise InvalidRequest(f"state is {wire.state!r}, expected one of {', '.join(_STATE_NAMES.values())}")
    duration = wire.execution_duration
    return Trace(
        id=wire.trace_id,
        experiment=wire.trace_location.experiment,
        started_ms=milliseconds_of(wire.request_time, "request_time"),
        duration_ms=None if duration is UNSET else duration_of(duration, "execution_duration"),
        state=_STATES[wire.state],
        client_request=wire.client_request_id or None,
        request=None if wire.request_preview is UNSET else wire.request_preview,
        response=None if wire.response_preview is UNSET else wire.response_preview,
        # What follows from how the trace is stored is told, not kept.
        tags={key: value for key, value in wire.tags.items() if key not in (_ARTIFACTS, _SPANS_AT)},
        metadata={key: value for key, value in wire.trace_metadata.items() if key != _FINALIZED},
        assessments=[assessment_read(one, wire.trace_id) for one in wire.assessments],
    )


def info_told(trace: Trace, location: str) -> InfoWire:
    """Give what is known of a trace as it is told; *location* is where its experiment has its artifacts."""
    tags = trace.tags | {_ARTIFACTS: f"{location.rstrip('/')}/traces/{trace.id}/artifacts"}
    if trace.has_spans:
        tags[_SPANS_AT] = "TRACKING_STORE"
    return InfoWire(
        trace_id=trace.id,
        trace_location=Location(mlflow_experiment=ExperimentLocation(trace.experiment)),
        request_time=moment_text(trace.started_ms),
        state=_STATE_NAMES[trace.state],
        client_request_id=UNSET if trace.client_request is None else trace.client_request,
        request_preview=UNSET if trace.request is None else trace.request,
        response_preview=UNSET if trace.response is None else trace.response,
        execution_duration=UNSET if trace.duration_ms is None else duration_text(trace.duration_ms),
        trace_metadata=trace.metadata | ({_FINALIZED: "true"} if trace.complete else {}),
        tags=tags,
        assessments=[assessment_told(one) for one in trace.assessments],
    )


def trace_told(trace: Trace, location: str, spans: Sequence[Span]) -> TraceWire:
    """Give a trace with its spans as it is told."""
    return TraceWire(info_told(trace, location), [span_told(span) for span in spans])


def is_whole(trace: Trace, spans: Sequence[Span]) -> bool:
    """Tell whether as many spans came as the client that finished the trace counted."""
    try:
        told = json.loads(trace.metadata.get(_SIZES, "{}")).get("num_spans", 0)
    except (ValueError, AttributeError):
        told = 0
    return bool(spans) and len(spans) >= (told if isinstance(told, int) else 0)
