"""Errors as Open Inference clients read them: ``{"error": "..."}``."""

from __future__ import annotations

import msgspec

from mainspring.core.errors import MainspringError
from mainspring.runtime.http.request import Request
from mainspring.serving.engine.refusals import error_headers

_encode = msgspec.json.Encoder().encode


def refuse(request: Request, error: MainspringError, headers: bytes = b"") -> None:
    """Answer with an error."""
    body = _encode({"error": str(error), "code": error.code})
    request.respond(error.status, body, headers=headers + error_headers(error))
