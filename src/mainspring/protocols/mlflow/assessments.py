"""``traces/{id}/assessments/...``: MLflow's assessments over ours."""

from __future__ import annotations

from typing import Any

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.protocols.mlflow.assessment_wire import (
    AssessmentWire,
    assessment_read,
    assessment_told,
    value_read,
)
from mainspring.protocols.mlflow.calls import CallList, Empty, Services

calls = CallList("/3.0/mlflow")


class Create(msgspec.Struct):
    """A judgement about a trace."""

    trace_id: str
    assessment: AssessmentWire


class One(msgspec.Struct):
    """Which assessment is meant."""

    trace_id: str
    assessment_id: str


class FieldMask(msgspec.Struct):
    """Names of fields, as an object."""

    paths: list[str] = []


class Update(msgspec.Struct):
    """What changes of an assessment: the fields that the mask names."""

    trace_id: str
    assessment_id: str
    assessment: AssessmentWire
    update_mask: str | FieldMask


class Answer(msgspec.Struct, frozen=True):
    """One assessment."""

    assessment: AssessmentWire


@calls.on("POST", "traces/{trace_id}/assessments")
def create(services: Services, ask: Create) -> Answer:
    """Log an assessment of a trace."""
    return Answer(assessment_told(services.traces.assess(assessment_read(ask.assessment, ask.trace_id))))


@calls.on("GET", "traces/{trace_id}/assessments/{assessment_id}")
def get(services: Services, ask: One) -> Answer:
    """Get an assessment."""
    return Answer(assessment_told(services.traces.get_assessment(ask.trace_id, ask.assessment_id)))


@calls.on("PATCH", "traces/{trace_id}/assessments/{assessment_id}")
def update(services: Services, ask: Update) -> Answer:
    """Change an assessment."""
    wire = ask.assessment
    changes: dict[str, Any] = {}
    metadata: dict[str, str] | None = None
    for name in _named(ask.update_mask):
        if name == "assessment_name":
            changes["name"] = wire.assessment_name or ""
        elif name == "rationale":
            changes["rationale"] = wire.rationale or None
        elif name == "metadata":
            metadata = wire.metadata or {}
        elif name in ("feedback", "expectation"):
            changes["kind"], changes["value"], changes["error"] = value_read(wire)
        else:
            raise InvalidRequest(f"the field {name!r} of an assessment is never changed: log another that overrides it")
    changed = services.traces.change_assessment(ask.trace_id, ask.assessment_id, changes, metadata)
    return Answer(assessment_told(changed))


@calls.on("DELETE", "traces/{trace_id}/assessments/{assessment_id}")
def delete(services: Services, ask: One) -> Empty:
    """Delete an assessment."""
    services.traces.delete_assessment(ask.trace_id, ask.assessment_id)
    return Empty()


def _named(mask: str | FieldMask) -> list[str]:
    if isinstance(mask, FieldMask):
        return mask.paths
    # As proto3's JSON has it: a text, names in camel case.
    return ["".join(f"_{c.lower()}" if c.isupper() else c for c in name) for name in mask.split(",") if name]
