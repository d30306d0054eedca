"""Routes for the operations of a service: nobody writes a handler by hand."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable
from typing import Any, Protocol

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from mainspring.core.actor import acting_as
from mainspring.core.errors import InvalidRequest, MainspringError, TooLarge
from mainspring.core.operations import Argument, Operation, operations
from mainspring.protocols.native.errors import error_response
from mainspring.runtime.telemetry.trace import in_trace, new_trace, parse_traceparent
from mainspring.runtime.threads import Threads

logger = logging.getLogger(__name__)


class Calls(Protocol):
    """Is told of every call that was carried out or refused."""

    def called(self, operation: str, status: int, seconds: float) -> None: ...


class Unobserved:
    """Nobody wants to know."""

    def called(self, operation: str, status: int, seconds: float) -> None:
        """Do nothing."""


def routes(
    services: Iterable[object], threads: Threads, max_body_bytes: int, calls: Calls | None = None
) -> list[Route]:
    """Give a route for each operation of each service; fixed paths come before those with arguments."""
    observer = calls or Unobserved()
    pairs = [(service, op) for service in services for op in operations(type(service))]
    pairs.sort(key=lambda pair: [(part.startswith("{"), part) for part in pair[1].path.split("/")])
    return [_route(service, op, threads, max_body_bytes, observer) for service, op in pairs]


def _route(service: object, op: Operation, threads: Threads, max_body_bytes: int, calls: Calls) -> Route:
    call = getattr(service, op.name)
    name = f"{type(service).__name__}.{op.name}"

    async def answer(request: Request) -> Response:
        try:
            arguments = await _arguments(request, op, max_body_bytes)
            with acting_as(*_actor(request)):
                result = await threads.run(lambda: call(**arguments))
            return Response(msgspec.json.encode(result), media_type="application/json")
        except MainspringError as error:
            return error_response(error)
        except ClientDisconnect:
            return Response(status_code=499)

    async def endpoint(request: Request) -> Response:
        started = time.perf_counter()
        caller = parse_traceparent(request.headers.get("traceparent"))
        with in_trace(caller.child() if caller else new_trace()):
            response = await answer(request)
            seconds = time.perf_counter() - started
            # Reads are many and change nothing: they are told only to who asks for it.
            level = logging.DEBUG if op.method == "GET" else logging.INFO
            facts = {"operation": name, "status": response.status_code, "ms": round(seconds * 1000, 1)}
            logger.log(level, "%s %s", op.method, request.url.path, extra=facts)
        calls.called(name, response.status_code, seconds)
        return response

    return Route(op.path, endpoint, methods=[op.method], name=name)


def _actor(request: Request) -> tuple[str, str]:
    client = request.client.host if request.client else "unknown"
    name = request.headers.get("x-mainspring-actor", "anonymous").encode("latin-1").decode("utf-8", "replace")
    return name[:128], f"http {client}"


async def _arguments(request: Request, op: Operation, max_body_bytes: int) -> dict[str, Any]:
    given: dict[str, Any] = dict(request.path_params)
    if op.in_query:
        for name in request.query_params:
            values = request.query_params.getlist(name)
            given.setdefault(name, values if len(values) > 1 else values[0])
    else:
        given = await _body(request, max_body_bytes) | given
    known = {argument.name: argument for argument in op.arguments}
    if unknown := given.keys() - known.keys():
        raise InvalidRequest(
            f"{op.method} {op.path} does not take {', '.join(sorted(unknown))}; "
            f"it takes {', '.join(known) or 'nothing'}"
        )
    if missing := [a.name for a in op.arguments if a.required and a.name not in given]:
        raise InvalidRequest(f"{op.method} {op.path} needs {', '.join(missing)}", missing=missing)
    return {name: _convert(value, known[name], strict=not _is_text(op, known[name])) for name, value in given.items()}


def _is_text(op: Operation, argument: Argument) -> bool:
    return argument.in_path or op.in_query


def _convert(value: Any, argument: Argument, *, strict: bool) -> Any:
    try:
        return msgspec.convert(value, argument.type, strict=strict)
    except msgspec.ValidationError as error:
        if not strict and isinstance(value, str):
            # In a query string a list may have one entry, and a struct or an empty list is written as JSON.
            readers = (_from_json, _one_entry) if value.startswith("[") else (_one_entry, _from_json)
            for read in readers:
                with contextlib.suppress(msgspec.ValidationError, msgspec.DecodeError):
                    return read(value, argument)
        raise InvalidRequest(f"{argument.name}: {error}", argument=argument.name) from None


def _one_entry(value: str, argument: Argument) -> Any:
    return msgspec.convert([value], argument.type, strict=False)


def _from_json(value: str, argument: Argument) -> Any:
    return msgspec.json.decode(value, type=argument.type)


async def _body(request: Request, max_body_bytes: int) -> dict[str, Any]:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > max_body_bytes:
            raise TooLarge(f"the body is larger than {max_body_bytes} bytes; upload large data to /objects first")
        parts.append(part)
    content = b"".join(parts)
    if not content:
        return {}
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"the body is not a JSON object: {error}") from None
