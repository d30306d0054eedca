"""The protocol over HTTP: one endpoint for all its paths, found in a table instead of tried one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from mainspring.core.errors import MainspringError, MethodNotAllowed, NotFound, TooLarge
from mainspring.protocols.mlflow import (
    artifacts,
    assessments,
    correlations,
    evaluation_datasets,
    experiments,
    inputs,
    logged_models,
    logged_values,
    metrics,
    model_versions,
    older_traces,
    prompt_runs,
    registered_models,
    runs,
    scorers,
    server_info,
    trace_metrics,
    traces,
    webhooks,
)
from mainspring.protocols.mlflow.answering import Observer, answered, json_response
from mainspring.protocols.mlflow.artifacts import PROXY, page_routes, proxy_routes
from mainspring.protocols.mlflow.calls import Call, CallTable, Services
from mainspring.protocols.mlflow.graphql import graphql_routes
from mainspring.protocols.mlflow.otlp import otlp_routes
from mainspring.protocols.mlflow.reading import read_body, read_query
from mainspring.protocols.mlflow.trace_files import trace_file_routes
from mainspring.runtime.threads import Threads
from mainspring.runtime.uploads import Uploads

VERSION = "3.18.0"
"""The version of MLflow's server whose surface this is; its clients ask, and use what it has."""

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def all_calls() -> Iterable[Call]:
    """Give every call of the protocol that is a request and an answer in JSON."""
    nouns = (experiments, runs, logged_values, metrics, inputs, artifacts, server_info, prompt_runs)
    for noun in (*nouns, registered_models, model_versions, logged_models, webhooks):
        yield from noun.calls.calls
    # Before the traces, whose paths have arguments that these fit.
    yield from correlations.calls.calls
    yield from trace_metrics.calls.calls
    for of_traces in (traces.calls, traces.older, older_traces.calls, assessments.calls):
        yield from of_traces.calls
    for of_evaluation in (evaluation_datasets.calls, scorers.calls):
        yield from of_evaluation.calls


def mlflow_routes(
    services: Services, threads: Threads, uploads: Uploads, *, max_body_bytes: int, observer: Observer | None = None
) -> Sequence[BaseRoute]:
    """Give the routes of the protocol; *uploads* are those of the services' object store."""
    endpoint = _Endpoint(services, threads, max_body_bytes, observer)
    proxied, paged = proxy_routes(services, uploads, observer), page_routes(services, uploads, observer)
    # Routes are tried one after the other, so what is called most stands first.
    return [
        Mount(f"/api{PROXY}", routes=proxied),
        *otlp_routes(services, threads, max_body_bytes=max_body_bytes, observer=observer),
        Route("/api/{rest:path}", endpoint.answer, methods=_METHODS),
        Mount(f"/ajax-api{PROXY}", routes=proxied),
        *paged,
        *trace_file_routes(services, uploads, observer),
        *graphql_routes(services, threads, max_body_bytes=max_body_bytes, observer=observer),
        Route("/ajax-api/{rest:path}", endpoint.answer, methods=_METHODS),
        Route("/version", _version, methods=["GET"]),
    ]


async def _version(request: Request) -> Response:
    return Response(VERSION, media_type="text/plain")


class _Endpoint:
    def __init__(self, services: Services, threads: Threads, max_body_bytes: int, observer: Observer | None) -> None:
        self._services, self._threads, self._max_bytes, self._observer = services, threads, max_body_bytes, observer
        self._table = CallTable(all_calls())

    async def answer(self, request: Request) -> Response:
        path = "/" + request.path_params["rest"]
        found = self._table.find(request.method, path)
        name = found[0].path if found else "unknown"
        return await answered(request, name, lambda asked: self._carried_out(asked, path, found), self._observer)

    async def _carried_out(self, request: Request, path: str, found: tuple[Call, dict[str, str]] | None) -> Response:
        if found is None:
            raise self._unknown(request.method, path)
        call, given = found
        ask = await self._read(request, call, given)
        answer = await self._threads.run(lambda: self._done(call, ask))
        return json_response(answer)

    def _done(self, call: Call, ask: msgspec.Struct) -> Any:
        answer = call.carry_out(self._services, ask)
        return self._services.database.carry_out(answer) if call.writes else answer

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
