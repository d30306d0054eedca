"""How an error looks on our own wire: ``{"error": {"code", "message", "retryable", "facts"}}``."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mainspring.core.errors import MainspringError
from mainspring.core.ids import new_id

logger = logging.getLogger(__name__)


class ErrorDetail(msgspec.Struct, frozen=True):
    """What went wrong: a stable code, a sentence with the remedy, whether a retry can help, and the facts."""

    code: str
    message: str
    retryable: bool = False
    facts: dict[str, Any] = {}


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every answer with a status from 400."""

    error: ErrorDetail


def error_response(error: MainspringError) -> Response:
    """Give the answer that stands for an error that was raised on purpose."""
    detail = ErrorDetail(error.code, str(error), error.retryable, _plain(error.facts))
    headers = {"retry-after": "1"} if error.retryable else {}
    return _response(error.status, detail, headers)


def http_exception(request: Request, error: Exception) -> Response:
    """Answer what the router itself refuses: no such path, no such method."""
    assert isinstance(error, HTTPException)
    code = "not_found" if error.status_code == 404 else "invalid_request"
    message = f"{request.method} {request.url.path}: {error.detail}; the API is described at /openapi.json"
    return _response(error.status_code, ErrorDetail(code, message), dict(error.headers or {}))


def unexpected(request: Request, error: Exception) -> Response:
    """Answer an error that nobody foresaw, and log it under an id that the answer names."""
    incident = new_id()
    logger.error("unexpected error %s", incident, exc_info=error)
    return _response(
        500, ErrorDetail("internal", f"unexpected error; the log of the control plane has it as {incident}")
    )


def _plain(facts: dict[str, object]) -> dict[str, Any]:
    return {name: msgspec.to_builtins(value, enc_hook=str) for name, value in facts.items()}


def _response(status: int, detail: ErrorDetail, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(ErrorBody(detail)), status, headers, media_type="application/json")
