"""Errors as MLflow's clients read them: ``{"error_code": ..., "message": ...}``."""

from __future__ import annotations

import msgspec

from mainspring.core.errors import AlreadyExists, ApprovalNeeded, GateRefused, MainspringError, NotFound, StaleLease

_CODES = {
    400: "INVALID_PARAMETER_VALUE",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    405: "ENDPOINT_NOT_FOUND",
    413: "INVALID_PARAMETER_VALUE",
    415: "INVALID_PARAMETER_VALUE",
    422: "INVALID_PARAMETER_VALUE",
    429: "RESOURCE_EXHAUSTED",
    501: "NOT_IMPLEMENTED",
    503: "TEMPORARILY_UNAVAILABLE",
}


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every answer with a status from 400."""

    error_code: str
    message: str


def told(error: MainspringError) -> tuple[int, ErrorBody]:
    """Give the status and the body that stand for an error that was raised on purpose."""
    message = _in_its_words(error)
    if isinstance(error, AlreadyExists):
        return 400, ErrorBody("RESOURCE_ALREADY_EXISTS", message)
    if isinstance(error, ApprovalNeeded):
        return 403, ErrorBody("PERMISSION_DENIED", message)
    if isinstance(error, GateRefused):
        return 400, ErrorBody("INVALID_STATE", message)
    if isinstance(error, StaleLease):
        return 409, ErrorBody("ABORTED", message)
    if error.status in (409, 422):
        # What stands in the way of a call is the caller's to change: a param has another value, a run was deleted.
        return 400, ErrorBody("INVALID_PARAMETER_VALUE", message)
    return error.status, ErrorBody(_CODES.get(error.status, "INTERNAL_ERROR"), message)


def _in_its_words(error: MainspringError) -> str:
    # Clients look for what is missing in MLflow's own words.
    model, version = error.facts.get("model_name"), error.facts.get("model_version")
    if not isinstance(error, NotFound) or model is None:
        return str(error)
    if version is None:
        return f"Registered Model with name={model} not found"
    return f"Model Version (name={model}, version={version}) not found"
