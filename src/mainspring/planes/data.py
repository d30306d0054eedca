"""The data plane: one worker process that answers predictions, ``python -m mainspring.planes.data``.

It takes its truth from the published snapshots and writes its facts to a spool of its own, so it serves on while the
control plane is down and starts from the last snapshot. It prints one line of JSON once it is ready, and drains on
SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from mainspring.core.errors import MainspringError, MethodNotAllowed, NotFound, Unavailable
from mainspring.planes.data_features import StoredFeatures
from mainspring.protocols.invocations.server import Invocations
from mainspring.protocols.oip.errors import refuse
from mainspring.protocols.oip.server import OpenInference
from mainspring.runtime.http.limits import Limits
from mainspring.runtime.http.request import Request
from mainspring.runtime.http.server import Server, serve
from mainspring.runtime.snapshots import Snapshot, Watcher
from mainspring.runtime.spool import SpoolWriter
from mainspring.runtime.telemetry.logs import start_logs
from mainspring.runtime.telemetry.metrics import CONTENT_TYPE, Metrics
from mainspring.serving.engine.hot import MAX_WAITING_ROWS, Gate
from mainspring.serving.engine.log import PredictionLog
from mainspring.serving.engine.refusals import must_be
from mainspring.serving.engine.table import LoadFailure, Table
from mainspring.serving.model import decode_state
from mainspring.storage.locations import url_of

POLL_S = 0.05
START_S = 20.0

log = logging.getLogger("mainspring.data")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker is told at its start."""

    home: Path
    host: str = "127.0.0.1"
    port: int = 0
    worker: str = "data-0"
    kv_url: str = ""
    max_body_bytes: int = 16 * 2**20
    max_waiting_rows: int = MAX_WAITING_ROWS
    spool_max_bytes: int = 4 * 2**30
    drain_timeout_s: float = 10.0
    log_level: str = "info"


class Health(msgspec.Struct, frozen=True):
    """How this worker is: ``failures`` are endpoints that could not follow the newest snapshot."""

    status: str
    worker: str
    pid: int
    snapshot: int
    endpoints: list[str]
    failures: list[LoadFailure]


class DataWorker:
    """One worker: a server, the table that it answers from, and the watch on the snapshots."""

    def __init__(self, options: Options) -> None:
        """Open the spool; raises Conflict when another process has this worker's name."""
        self.options = options
        self._spool = SpoolWriter(options.home / "spool" / options.worker, max_bytes=options.spool_max_bytes)
        self._log = PredictionLog(self._spool, asyncio.get_running_loop())
        self._features = StoredFeatures(options.kv_url or url_of("lmdb", options.home.absolute() / "kv"))
        self._registry = Metrics()
        self.table = Table(self._log, self._features, Gate(options.max_waiting_rows), self._registry)
        self._gauge("mainspring_waiting_rows", "Rows that wait for a model now.", lambda: self.table.gate.waiting)
        self._gauge("mainspring_snapshot_version", "The snapshot that is served.", lambda: self.table.version)
        self._watcher = Watcher(options.home / "snapshots")
        self._inference = OpenInference(self.table, max_body_bytes=options.max_body_bytes)
        self._protocols = (self._inference, Invocations(self.table, max_body_bytes=options.max_body_bytes))
        self._own: dict[bytes, Callable[[Request], None]] = {b"/health": self._health, b"/metrics": self._metrics}
        self._watching: asyncio.Task[None] | None = None
        self._loaded = asyncio.Event()
        self.server: Server | None = None

    async def start(self) -> int:
        """Serve the last snapshot, and follow; gives the port.

        Models that load slowly are not waited for longer than START_S: until they are there, ready answers 503.
        """
        self._watching = asyncio.create_task(self._watch())
        with suppress(TimeoutError):
            await asyncio.wait_for(self._loaded.wait(), START_S)
        limits = Limits(max_body_bytes=self.options.max_body_bytes)
        self.server = await serve(
            self.handle, host=self.options.host, port=self.options.port, limits=limits, reuse_port=True
        )
        port: int = self.server.port
        return port

    def handle(self, request: Request) -> None:
        """Answer one request."""
        inference = self._inference.paths.get(request.path)
        if inference is not None:
            inference(request)
            return
        own = self._own.get(request.path)
        if own is not None:
            self._answer_own(request, own)
            return
        if not any(protocol.handle(request) for protocol in self._protocols):
            told = f"there is nothing at {request.path.decode('latin-1')}; predictions are at /v2/models/NAME/infer"
            refuse(request, NotFound(told))

    def _answer_own(self, request: Request, answer: Callable[[Request], None]) -> None:
        try:
            must_be(request, b"GET", b"HEAD")
        except MethodNotAllowed as refused:
            refuse(request, refused)
        else:
            answer(request)

    async def stop(self) -> None:
        """Finish what was begun, write the log, and close."""
        if self._watching is not None:
            self._watching.cancel()
        if self.server is not None:
            await self.server.drain(self.options.drain_timeout_s)
        self.table.close()
        self._log.close()
        self._features.close()
        self._spool.close()

    async def _watch(self) -> None:
        while True:
            following = asyncio.create_task(self._follow())
            await asyncio.wait({following})
            failed = following.exception()
            if failed is not None:
                # Whatever a snapshot brings, what is served now is served on.
                log.error("the snapshot is not applied: %s", failed, exc_info=failed)
            self._loaded.set()
            await asyncio.sleep(POLL_S)

    async def _follow(self) -> None:
        snapshot = self._watcher.poll()
        if snapshot is not None:
            await self._apply(snapshot)
        elif self.table.version < 0:
            self.table.version = 0
            self._watcher.acknowledge(self.options.worker, 0)

    async def _apply(self, snapshot: Snapshot) -> None:
        applied = await self.table.apply(decode_state(snapshot.payload), snapshot.version)
        for failure in self.table.failures:
            log.error("endpoint %s keeps what it served: %s", failure.endpoint, failure.reason)
        # What was loaded lives as long as the process: the collector need not walk it again and again.
        gc.collect()
        gc.freeze()
        if applied:
            self._watcher.acknowledge(self.options.worker, snapshot.version)

    def _gauge(self, name: str, told: str, read: Callable[[], float]) -> None:
        self._registry.gauge(name, told).labels().read = read

    def _health(self, request: Request) -> None:
        table, options = self.table, self.options
        status = "degraded" if table.failures else "ok"
        health = Health(status, options.worker, os.getpid(), table.version, sorted(table.endpoints), table.failures)
        request.respond(200, msgspec.json.encode(health))

    def _metrics(self, request: Request) -> None:
        request.respond(200, self._registry.render(), content_type=CONTENT_TYPE.encode())


async def run(options: Options) -> None:
    """Serve until SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    worker = DataWorker(options)
    try:
        port = await worker.start()
        ready = {"ready": True, "worker": options.worker, "host": options.host, "port": port, "pid": os.getpid()}
        print(msgspec.json.encode(ready).decode(), flush=True)
        await stopping.wait()
    finally:
        await worker.stop()


def main(arguments: list[str]) -> int:
    """Run one worker; gives the exit status: 0 after a drain, 1 when it could not start."""
    options = _options(arguments)
    start_logs("data", level=options.log_level)
    # Requests make and drop thousands of small objects a second; none of them is part of a cycle.
    gc.set_threshold(20_000, 50, 50)
    try:
        uvloop.run(run(options))
    except (MainspringError, OSError) as failed:
        code = failed.code if isinstance(failed, MainspringError) else Unavailable.code
        log.error("the data worker cannot run: %s", failed, extra={"code": code})
        return 1
    return 0


def _options(arguments: list[str]) -> Options:
    parser = argparse.ArgumentParser(prog="mainspring.planes.data", description="Answer predictions.")
    for field in msgspec.structs.fields(Options):
        flag = "--" + field.name.replace("_", "-")
        if field.required:
            parser.add_argument(flag, type=field.type, required=True)
        else:
            parser.add_argument(flag, type=type(field.default), default=field.default)
    given: dict[str, Any] = vars(parser.parse_args(arguments))
    return Options(**given)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
