"""What every request of the protocol goes through: its trace, its actor, its errors, and who counts it."""

from __future__ import annotations

import base64
import binascii
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from mainspring.core.actor import acting_as
from mainspring.core.errors import MainspringError
from mainspring.core.ids import new_id
from mainspring.protocols.mlflow.errors import ErrorBody, told
from mainspring.runtime.telemetry.trace import in_trace, new_trace, parse_traceparent

logger = logging.getLogger(__name__)

Handler = Callable[[Request], Awaitable[Response]]


class Observer(Protocol):
    """Is told of every call that was carried out or refused."""

    def called(self, operation: str, status: int, seconds: float) -> None: ...


async def answered(request: Request, name: str, handle: Handler, observer: Observer | None) -> Response:
    """Give what *handle* answers, or the answer that stands for its error; *name* is what is counted."""
    started = time.perf_counter()
    caller = parse_traceparent(request.headers.get("traceparent"))
    client = request.client.host if request.client else "unknown"
    with in_trace(caller.child() if caller else new_trace()), acting_as(_user(request), f"mlflow {client}"):
        response = await _told(request, handle)
    if observer is not None:
        observer.called(f"mlflow {name}", response.status_code, time.perf_counter() - started)
    return response


async def _told(request: Request, handle: Handler) -> Response:
    try:
        return await handle(request)
    except ClientDisconnect:
        return Response(status_code=499)
    except Exception as error:  # noqa: BLE001 (the caller is told)
        status, body, headers = refusal(error)
        return json_response(body, status, headers)


def refusal(error: Exception) -> tuple[int, ErrorBody, dict[str, str]]:
    """Give the status, the body and the headers that tell of an error; one that nobody expected is logged."""
    if isinstance(error, MainspringError):
        status, body = told(error)
        return status, body, {"retry-after": "1"} if error.retryable else {}
    incident = new_id()
    logger.error("unexpected error %s", incident, exc_info=error)
    message = f"unexpected error; the log of the control plane has it as {incident}"
    return 500, ErrorBody("INTERNAL_ERROR", message), {}


def json_response(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Give a body as JSON."""
    return Response(msgspec.json.encode(body), status, headers, media_type="application/json")


def user_of(authorization: bytes | None, named: bytes | None) -> str:
    """Give who calls, by the headers that may name them."""
    # MLflow's client says who it is in one way only: by the name of a login, which nobody has to have here.
    scheme, _, login = (authorization or b"").partition(b" ")
    if scheme.lower() == b"basic":
        with contextlib.suppress(binascii.Error, ValueError):
            name = base64.b64decode(login, validate=True).decode("utf-8", "replace").partition(":")[0]
            if name:
                return name[:128]
    return "mlflow client" if named is None else named.decode("utf-8", "replace")[:128]


def _user(request: Request) -> str:
    found = (request.headers.get(name) for name in ("authorization", "x-mainspring-actor"))
    return user_of(*(None if value is None else value.encode("latin-1") for value in found))
