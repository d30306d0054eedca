"""What the protocol has: its calls, and the routes of bytes, which are streamed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from mainspring.core.errors import MethodNotAllowed, NotFound
from mainspring.protocols.mlflow import (
    artifacts,
    assessments,
    correlations,
    evaluation_datasets,
    experiments,
    inputs,
    issues,
    label_schemas,
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
    users,
    webhooks,
)
from mainspring.protocols.mlflow.answering import Observer, answered
from mainspring.protocols.mlflow.artifacts import PROXY, page_routes, proxy_routes
from mainspring.protocols.mlflow.calls import Call, CallTable, Services
from mainspring.protocols.mlflow.graphql import graphql_routes
from mainspring.protocols.mlflow.otlp import otlp_routes
from mainspring.protocols.mlflow.trace_files import trace_file_routes
from mainspring.runtime.threads import Threads
from mainspring.runtime.uploads import Uploads

VERSION = "3.18.0"
"""The version of MLflow's server whose surface this is; its clients ask, and use what it has."""

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def all_calls() -> Iterable[Call]:
    """Give every call of the protocol that is a request and an answer in JSON."""
    nouns = (experiments, runs, logged_values, metrics, inputs, artifacts, server_info, prompt_runs)
    for noun in (*nouns, registered_models, model_versions, logged_models, webhooks, users):
        yield from noun.calls.calls
    yield from users.newer.calls
    # Before the traces, whose paths have arguments that these fit.
    yield from correlations.calls.calls
    yield from trace_metrics.calls.calls
    for of_traces in (traces.calls, traces.older, older_traces.calls, assessments.calls):
        yield from of_traces.calls
    for of_evaluation in (evaluation_datasets.calls, scorers.calls, issues.calls, label_schemas.calls):
        yield from of_evaluation.calls


def mlflow_routes(
    services: Services, threads: Threads, uploads: Uploads, *, max_body_bytes: int, observer: Observer | None = None
) -> Sequence[BaseRoute]:
    """Give the routes of all that is no call in JSON; *uploads* are those of the services' object store."""
    unknown = _Unknown(observer)
    proxied, paged = proxy_routes(services, uploads, observer), page_routes(services, uploads, observer)
    # Routes are tried one after the other, so what is called most stands first.
    return [
        Mount(f"/api{PROXY}", routes=proxied),
        *otlp_routes(services, threads, max_body_bytes=max_body_bytes, observer=observer),
        Route("/api/{rest:path}", unknown.answer, methods=_METHODS),
        Mount(f"/ajax-api{PROXY}", routes=proxied),
        *paged,
        *trace_file_routes(services, uploads, observer),
        *graphql_routes(services, threads, max_body_bytes=max_body_bytes, observer=observer),
        Route("/ajax-api/{rest:path}", unknown.answer, methods=_METHODS),
        Route("/version", _version, methods=["GET"]),
    ]


async def _version(request: Request) -> Response:
    return Response(VERSION, media_type="text/plain")


class _Unknown:
    """Refuses what none of the calls is."""

    def __init__(self, observer: Observer | None) -> None:
        self._observer = observer
        self._table = CallTable(all_calls())

    async def answer(self, request: Request) -> Response:
        return await answered(request, "unknown", self._refused, self._observer)

    async def _refused(self, request: Request) -> Response:
        path = "/" + request.path_params["rest"]
        allowed = ", ".join(self._table.methods(path))
        if allowed:
            raise MethodNotAllowed(f"{path} takes {allowed}, not {request.method}", allow=allowed)
        raise NotFound(f"MLflow's {request.method} {path} is not served here")
