"""Errors as Open Inference clients read them: ``{"error": "..."}``."""

from __future__ import annotations

import msgspec

from mainspring.core.errors import MainspringError
from mainspring.runtime.http.request import Request

_encode = msgspec.json.Encoder().encode
RETRY_AFTER = b"retry-after: 1\r\n"


def refuse(request: Request, error: MainspringError, headers: bytes = b"") -> None:
    """Answer with an error."""
    if error.status == 503:
        headers += RETRY_AFTER
    request.respond(error.status, _encode({"error": str(error), "code": error.code}), headers=headers)
