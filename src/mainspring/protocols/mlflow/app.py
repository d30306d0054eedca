"""The protocol over HTTP: one endpoint for all its paths, found in a table instead of tried one by one."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from mainspring.core.actor import acting_as
from mainspring.core.errors import MainspringError, MethodNotAllowed, NotFound, TooLarge
from mainspring.core.ids import new_id
from mainspring.protocols.mlflow import experiments, runs
from mainspring.protocols.mlflow.calls import Call, CallTable, Services
from mainspring.protocols.mlflow.errors import ErrorBody, told
from mainspring.protocols.mlflow.reading import read_body, read_query
from mainspring.runtime.telemetry.trace import in_trace, new_trace, parse_traceparent
from mainspring.runtime.threads import Threads

VERSION = "3.18.0"
"""The version of MLflow's server whose surface this is; its clients ask, and use what it has."""

logger = logging.getLogger(__name__)
_PREFIXES = ("/api", "/ajax-api")
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


class Observer(Protocol):
    """Is told of every call that was carried out or refused."""

    def called(self, operation: str, status: int, seconds: float) -> None: ...


def all_calls() -> Iterable[Call]:
    """Give every call of the protocol that is a request and an answer in JSON."""
    for noun in (experiments, runs):
        yield from noun.calls.calls


def mlflow_routes(
    services: Services, threads: Threads, *, max_body_bytes: int, observer: Observer | None = None
) -> Sequence[BaseRoute]:
    """Give the routes of the protocol."""
    endpoint = _Endpoint(services, threads, max_body_bytes, observer)
    routes: list[BaseRoute] = [Route("/version", _version, methods=["GET"])]
    return routes + [Route(f"{prefix}/{{rest:path}}", endpoint.answer, methods=_METHODS) for prefix in _PREFIXES]


async def _version(request: Request) -> Response:
    return Response(VERSION, media_type="text/plain")


class _Endpoint:
    def __init__(self, services: Services, threads: Threads, max_body_bytes: int, observer: Observer | None) -> None:
        self._services, self._threads, self._max_bytes, self._observer = services, threads, max_body_bytes, observer
        self._table = CallTable(all_calls())

    async def answer(self, request: Request) -> Response:
        started = time.perf_counter()
        caller = parse_traceparent(request.headers.get("traceparent"))
        with in_trace(caller.child() if caller else new_trace()):
            path = "/" + request.path_params["rest"]
            name, response = await self._carried_out(request, path)
        if self._observer is not None:
            self._observer.called(f"mlflow {name}", response.status_code, time.perf_counter() - started)
        return response

    async def _carried_out(self, request: Request, path: str) -> tuple[str, Response]:
        found = self._table.find(request.method, path)
        try:
            if found is None:
                raise self._unknown(request.method, path)
            call, given = found
            ask = await self._read(request, call, given)
            client = request.client.host if request.client else "unknown"
            with acting_as(_user(request), f"mlflow {client}"):
                answer = await self._threads.run(lambda: call.carry_out(self._services, ask))
            return call.path, Response(msgspec.json.encode(answer), media_type="application/json")
        except MainspringError as error:
            status, body = told(error)
            headers = {"retry-after": "1"} if error.retryable else {}
            response = Response(msgspec.json.encode(body), status, headers, media_type="application/json")
        except ClientDisconnect:
            response = Response(status_code=499)
        except Exception as error:
            incident = new_id()
            logger.error("unexpected error %s", incident, exc_info=error)
            unforeseen = ErrorBody(
                "INTERNAL_ERROR", f"unexpected error; the log of the control plane has it as {incident}"
            )
            response = Response(msgspec.json.encode(unforeseen), 500, media_type="application/json")
        return found[0].path if found else "unknown", response

    def _unknown(self, method: str, path: str) -> MainspringError:
        allowed = ", ".join(self._table.methods(path))
        if allowed:
            return MethodNotAllowed(f"{path} takes {allowed}, not {method}", allow=allowed)
        return NotFound(f"MLflow's {method} {path} is not served here")

    async def _read(self, request: Request, call: Call, given: dict[str, str]) -> msgspec.Struct:
        if request.method == "GET":
            query = {name: request.query_params.getlist(name) for name in request.query_params}
            return read_query(query, call.ask, given)
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > self._max_bytes:
                raise TooLarge(f"the body is larger than {self._max_bytes} bytes; send less at once")
            parts.append(part)
        return read_body(b"".join(parts), call.ask, given)


def _user(request: Request) -> str:
    return request.headers.get("x-mainspring-actor", "mlflow client").encode("latin-1").decode("utf-8", "replace")[:128]
