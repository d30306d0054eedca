"""Assessments as MLflow's clients write and read them."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from mainspring.core.errors import InvalidRequest
from mainspring.protocols.mlflow.moments import milliseconds_of, moment_text
from mainspring.traces.model import Assessment, AssessmentKind

_SOURCES = ("HUMAN", "LLM_JUDGE", "CODE", "SOURCE_TYPE_UNSPECIFIED")
_JSON = "JSON_FORMAT"
_MAX_DEPTH = 100


class Source(msgspec.Struct, frozen=True):
    """Who judged."""

    source_type: str = "SOURCE_TYPE_UNSPECIFIED"
    source_id: str | UnsetType = UNSET


class JudgeError(msgspec.Struct, frozen=True):
    """Why there is no judgement."""

    error_code: str = ""
    error_message: str | UnsetType = UNSET
    stack_trace: str | UnsetType = UNSET


class FeedbackValue(msgspec.Struct, frozen=True):
    """A judgement: any JSON value, or the error in its place."""

    value: Any = UNSET
    error: JudgeError | UnsetType | None = UNSET


class Serialized(msgspec.Struct, frozen=True):
    """A value written as a text."""

    serialization_format: str = _JSON
    value: str = "null"


class ExpectationValue(msgspec.Struct, frozen=True):
    """What was expected: a plain value, or lists and mappings as a text."""

    value: Any = UNSET
    serialized_value: Serialized | UnsetType = UNSET


class IssueValue(msgspec.Struct, frozen=True):
    """The issue that a trace shows; the assessment's name is its id."""

    issue_name: str = ""


class AssessmentWire(msgspec.Struct, frozen=True):
    """An assessment on the wire."""

    assessment_id: str | UnsetType = UNSET
    assessment_name: str | UnsetType = UNSET
    trace_id: str | UnsetType = UNSET
    span_id: str | UnsetType = UNSET
    source: Source | UnsetType = UNSET
    create_time: str | UnsetType = UNSET
    last_update_time: str | UnsetType = UNSET
    feedback: FeedbackValue | UnsetType = UNSET
    expectation: ExpectationValue | UnsetType = UNSET
    issue: IssueValue | UnsetType = UNSET
    rationale: str | UnsetType = UNSET
    metadata: dict[str, str] | UnsetType = UNSET
    overrides: str | UnsetType = UNSET
    valid: bool | UnsetType = UNSET


def assessment_read(wire: AssessmentWire, trace: str) -> Assessment:
    """Give the assessment of a trace that is meant; raises InvalidRequest for one that says too little or too much."""
    kind, value, error = value_read(wire)
    source = wire.source or Source()
    if source.source_type not in _SOURCES:
        raise InvalidRequest(f"Invalid assessment source type: {source.source_type!r}, expected {', '.join(_SOURCES)}")
    created = milliseconds_of(wire.create_time, "create_time") if wire.create_time else 0
    updated = milliseconds_of(wire.last_update_time, "last_update_time") if wire.last_update_time else 0
    return Assessment(
        id=wire.assessment_id or "",
        trace=trace,
        name=wire.assessment_name or "",
        kind=kind,
        source_type=source.source_type,
        value=value,
        error=error,
        source_id=source.source_id or None,
        span=wire.span_id or None,
        rationale=wire.rationale or None,
        metadata=wire.metadata or {},
        created_ms=created,
        updated_ms=updated,
        overrides=wire.overrides or None,
        valid=True if wire.valid is UNSET else wire.valid,
    )


def value_read(wire: AssessmentWire) -> tuple[AssessmentKind, Any, dict[str, str] | None]:
    """Give the kind, the value and the error of an assessment; raises InvalidRequest unless it is of just one kind."""
    given = [part for part in (wire.feedback, wire.expectation, wire.issue) if part is not UNSET]
    if len(given) != 1:
        raise InvalidRequest("Exactly one of `expectation`, `feedback`, or `issue` should be specified.")
    if isinstance(wire.issue, IssueValue):
        return "issue", wire.issue.issue_name, None
    if isinstance(wire.expectation, ExpectationValue):
        return "expectation", _expected(wire.expectation), None
    feedback = wire.feedback
    assert isinstance(feedback, FeedbackValue)
    value = None if feedback.value is UNSET else _whole(feedback.value)
    return "feedback", value, _error_read(feedback.error) if feedback.error else None


def assessment_told(one: Assessment) -> AssessmentWire:
    """Give an assessment as it is told."""
    error = JudgeError(**one.error) if one.error else UNSET
    plain = one.value is not None and isinstance(one.value, int | float | str)
    serialized = Serialized(value=msgspec.json.encode(one.value).decode())
    expected = ExpectationValue(value=one.value) if plain else ExpectationValue(serialized_value=serialized)
    return AssessmentWire(
        assessment_id=one.id,
        assessment_name=one.name,
        trace_id=one.trace,
        span_id=one.span or UNSET,
        source=Source(one.source_type, one.source_id or UNSET),
        create_time=moment_text(one.created_ms),
        last_update_time=moment_text(one.updated_ms),
        feedback=FeedbackValue(one.value, error) if one.kind == "feedback" else UNSET,
        expectation=expected if one.kind == "expectation" else UNSET,
        issue=IssueValue(str(one.value)) if one.kind == "issue" else UNSET,
        rationale=one.rationale or UNSET,
        metadata=one.metadata or UNSET,
        overrides=one.overrides or UNSET,
        valid=one.valid,
    )


def _whole(value: Any, depth: int = 0) -> Any:
    # On the wire every number is a double, 1.0 where 1 was meant.
    if depth > _MAX_DEPTH:
        raise InvalidRequest(f"the value of the assessment nests more than {_MAX_DEPTH} deep")
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, list):
        return [_whole(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {key: _whole(item, depth + 1) for key, item in value.items()}
    return value


def _expected(wire: ExpectationValue) -> Any:
    if not isinstance(wire.serialized_value, Serialized):
        if wire.value is UNSET or wire.value is None:
            raise InvalidRequest("The `value` field of an expectation must be specified.")
        return _whole(wire.value)
    if wire.serialized_value.serialization_format != _JSON:
        raise InvalidRequest(f"Unknown serialization format: {wire.serialized_value.serialization_format}")
    try:
        return msgspec.json.decode(wire.serialized_value.value)
    except (msgspec.DecodeError, ValueError):
        raise InvalidRequest("the serialized value of the expectation is no JSON") from None


def _error_read(error: JudgeError) -> dict[str, str]:
    return {name: value for name in error.__struct_fields__ if (value := getattr(error, name)) is not UNSET}
