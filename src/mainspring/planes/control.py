"""The control plane: the API, and the work that goes on behind it, ``python -m mainspring.planes.control``.

It publishes what the data plane serves, takes in what the data plane wrote, delivers events to those who react, and
fires timers. When it is down the data plane serves on; when it comes back it goes on where it stopped.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
from typing import Any

import msgspec
import uvloop
from starlette.types import ASGIApp

from mainspring.access.rules import Rulebook
from mainspring.client.session import SERVICES
from mainspring.core.errors import MainspringError, Unavailable
from mainspring.core.settings import Settings, load_settings
from mainspring.planes.background import Background
from mainspring.planes.embedded import Platform
from mainspring.planes.emptying import Emptying, testing_routes
from mainspring.planes.first_login import forget_owner_token, make_first_admin, make_owner_token
from mainspring.planes.front import Front
from mainspring.planes.gate import Behind, Gate
from mainspring.protocols.mlflow.app import mlflow_routes
from mainspring.protocols.mlflow.guarding import MlflowRules
from mainspring.protocols.mlflow.server import MlflowServer
from mainspring.protocols.native.app import application
from mainspring.protocols.native.guarding import NativeRules
from mainspring.protocols.native.objects import object_routes
from mainspring.runtime.http.asgi import AsgiBridge
from mainspring.runtime.http.limits import Limits
from mainspring.runtime.http.server import serve as serve_http
from mainspring.runtime.telemetry.logs import start_logs
from mainspring.runtime.telemetry.metrics import Counter, Histogram, Metrics
from mainspring.runtime.threads import Threads
from mainspring.runtime.uploads import Uploads
from mainspring.runtime.write_turns import WriteTurns

logger = logging.getLogger("mainspring.control")


class _CallMetrics:
    """Counts and times the calls of the API by operation."""

    def __init__(self, metrics: Metrics) -> None:
        self._total = metrics.counter("mainspring_control_calls_total", "Calls of the API.", "operation", "status")
        self._seconds = metrics.histogram("mainspring_control_call_seconds", "Time of a call.", "operation")
        self._kept: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    def called(self, operation: str, status: int, seconds: float) -> None:
        """Count one call."""
        kept = self._kept.get((operation, status))
        if kept is None:
            kept = self._total.labels(operation, str(status)), self._seconds.labels(operation)
            self._kept[operation, status] = kept
        kept[0].value += 1
        kept[1].observe(seconds)


def serve(settings: Settings, *, testing: bool = False) -> None:
    """Serve until SIGTERM or SIGINT, then finish the calls that run. Raises what opening the platform raises.

    With *testing* a request empties the platform; raises Conflict for a home that is none for testing.
    """
    listener = _bind(settings.host, settings.port)
    if testing:
        # Who receives in tests runs beside them.
        settings = msgspec.structs.replace(settings, webhook_private_targets=True)
    platform = Platform(settings)
    metrics, threads = Metrics(), Threads(settings.control_threads)
    emptying = Emptying(platform) if testing else None
    background = Background(platform, metrics, emptying.turn if emptying else None)
    calls = _CallMetrics(metrics)
    uploads = Uploads(platform.objects, threads, platform.home / "uploads", settings.max_upload_bytes)
    objects = object_routes(uploads)
    mlflow = mlflow_routes(platform, threads, uploads, max_body_bytes=settings.max_request_bytes, observer=calls)
    app = application(
        [getattr(platform, name) for name in SERVICES],
        threads,
        max_body_bytes=settings.max_request_bytes,
        extra=[*objects, *mlflow, *(testing_routes(emptying, threads) if emptying else [])],
        metrics=metrics.render,
        calls=calls,
        guarded=settings.auth,
    )
    background.start()
    # What was loaded lives as long as the process, and requests make and drop thousands of objects, in no cycle.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 50)
    try:
        uvloop.run(_answer(settings, listener, platform, threads, app, calls))
    finally:
        background.stop()
        threads.close()
        platform.close()
        if settings.auth:
            forget_owner_token(platform.home)


def _gate(platform: Platform, threads: Threads, app: ASGIApp) -> Gate:
    """Give what asks for a login before every call."""
    settings = platform.settings
    make_first_admin(platform.access, platform.home, settings.admin_password)
    services = [getattr(platform, name) for name in SERVICES]
    rulebooks: list[Rulebook] = [MlflowRules(platform), NativeRules(platform, services)]
    return Gate(
        app,
        platform.access,
        rulebooks,
        threads,
        owner_token=make_owner_token(platform.home),
        max_body_bytes=settings.max_request_bytes,
    )


async def _answer(
    settings: Settings, listener: socket.socket, platform: Platform, threads: Threads, app: Any, calls: _CallMetrics
) -> None:
    """Answer until a signal ends it, then finish the calls that run."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    platform.tracking.experiments.default()  # Calls that name none mean it, and do not look whether it is there.
    # PostgreSQL has many writers, and groups their commits itself.
    turns = WriteTurns(platform.database) if platform.database.one_writer else None
    mlflow, address = MlflowServer(platform, threads, turns, calls), listener.getsockname()[:2]
    front: Front | AsgiBridge = Front(mlflow, AsgiBridge(app, address))
    if settings.auth:
        front = AsgiBridge(_gate(platform, threads, Behind(mlflow, app)), address)
    # Pages name the runs of a chart in its address.
    limits = Limits(max_body_bytes=settings.max_request_bytes, max_url_bytes=65_536, max_header_bytes=131_072)
    server = await serve_http(front.handle, limits=limits, listener=listener, streams=MlflowServer.streams)
    await ended.wait()
    await server.drain(settings.drain_timeout_s)
    if turns is not None:
        turns.close()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # The supervisor holds the port with the same option, so that nobody else takes it while this one restarts.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise Unavailable(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listener


def main() -> int:
    """Run the control plane; gives the exit status."""
    try:
        settings = load_settings().settings
        start_logs("control", level=settings.log_level)
        serve(settings, testing="--testing" in sys.argv[1:])
    except MainspringError as error:
        # `mainspring up` reads the code from this line, to tell what it was as its own error.
        logger.error("%s", error, extra={"code": error.code})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
