"""Errors as MLflow's scoring clients read them: ``{"error_code": ..., "message": ...}``."""

from __future__ import annotations

import msgspec

from mainspring.core.errors import MainspringError
from mainspring.runtime.http.request import Request
from mainspring.serving.engine.refusals import error_headers

CODES = {400: "BAD_REQUEST", 405: "BAD_REQUEST", 404: "RESOURCE_DOES_NOT_EXIST", 413: "BAD_REQUEST", 415: "BAD_REQUEST"}
CODES |= {429: "REQUEST_LIMIT_EXCEEDED", 503: "TEMPORARILY_UNAVAILABLE"}

_encode = msgspec.json.Encoder().encode


def refuse(request: Request, error: MainspringError, headers: bytes = b"") -> None:
    """Answer with an error."""
    body = {"error_code": CODES.get(error.status, "INTERNAL_ERROR"), "message": str(error)}
    request.respond(error.status, _encode(body), headers=headers + error_headers(error))
