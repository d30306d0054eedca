"""The control plane's HTTP application: operations, objects, health, OpenAPI and what guards them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mainspring.core.errors import Forbidden
from mainspring.protocols.native.errors import error_response, http_exception, unexpected
from mainspring.protocols.native.openapi import described, entry, openapi
from mainspring.protocols.native.routes import Calls, routes
from mainspring.runtime.threads import Threads

_LOOPBACK = re.compile(r"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?", re.IGNORECASE)


def application(
    services: Iterable[object],
    threads: Threads,
    *,
    max_body_bytes: int,
    extra: Sequence[BaseRoute] = (),
    metrics: Callable[[], bytes] | None = None,
    calls: Calls | None = None,
    guarded: bool = False,
) -> ASGIApp:
    """Build the application. *extra* are routes written by hand (object bytes); they come first.

    Only loopback may call, unless it is *guarded* by who asks for a login.
    """
    listed = list(services)
    own = [Route("/health", _health)]
    if metrics is not None:
        own.append(Route("/metrics", _metrics(metrics)))
    written = {route.path: route.endpoint for route in [*own, *extra] if isinstance(route, Route)}
    document = msgspec.json.encode(openapi([type(service) for service in listed], written))
    own.append(Route("/openapi.json", _fixed(document, "application/json")))
    app = Starlette(
        routes=[*own, *extra, *routes(listed, threads, max_body_bytes, calls)],
        exception_handlers={HTTPException: http_exception, Exception: unexpected},
    )
    return app if guarded else _OnlyLoopback(app)


def _fixed(content: bytes, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return Response(content, media_type=media_type)

    return endpoint


_STATUS = {"type": "object", "properties": {"status": {"const": "ok"}}, "required": ["status"]}


@described(get=entry("Control.health", "Tell that the control plane answers.", "application/json", _STATUS))
async def _health(request: Request) -> Response:
    if "application/json" in request.headers.get("accept", ""):
        return Response(b'{"status":"ok"}', media_type="application/json")
    # Who does not ask for JSON may be a client of MLflow, whose server says just this.
    return Response(b"OK", media_type="text/plain")


def _metrics(render: Callable[[], bytes]) -> Callable[[Request], Awaitable[Response]]:
    @described(get=entry("Control.metrics", "Give its metrics for Prometheus.", "text/plain", {"type": "string"}))
    async def endpoint(request: Request) -> Response:
        return Response(render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return endpoint


def check_caller(host: str | None, origin: str | None) -> None:
    """Raise Forbidden for what a web page in the user's browser could send to a server without login.

    A page of another site can reach loopback through its own name (DNS rebinding: the Host header gives it away) or
    by a cross-site request (the Origin header gives it away).
    """
    host = host or "localhost"
    if not _LOOPBACK.fullmatch(host) or (origin and not _LOOPBACK.fullmatch(origin.partition("://")[2])):
        raise Forbidden(f"without login only loopback may call; Host was {host!r}, Origin was {origin!r}")


class _OnlyLoopback:
    """Lets only callers in that `check_caller` does not refuse."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            try:
                check_caller(headers.get("host"), headers.get("origin"))
            except Forbidden as refusal:
                await error_response(refusal)(scope, receive, send)
                return
        await self.app(scope, receive, send)
