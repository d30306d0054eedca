"""Logging to a run without waiting: a call takes microseconds, and what was logged survives outages and crashes.

Calls put entries in memory. A thread writes them in batches to a spool on disk, and from there sends them to tracking,
in order, as often as it takes; tracking knows a batch that it has seen by its writer and number. What a process could
not send before it ended is sent by the next logger with the same spool, or by `send_spooled`.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from mainspring.client.sending import WRITER, Batch, End, Origin, Sender, Start, encode, send_spooled
from mainspring.core.errors import Conflict, OverLimit, Unavailable
from mainspring.core.ids import new_id
from mainspring.core.refs import check_path_name
from mainspring.runtime.spool import SpoolWriter
from mainspring.tracking.environment import capture_environment
from mainspring.tracking.limits import check_batch, check_texts
from mainspring.tracking.model import MAX_METRICS, MAX_PARAM_CHARS, MAX_PARAMS, MAX_TAGS, Metric, RunEnd
from mainspring.tracking.source import capture_source

if TYPE_CHECKING:
    from mainspring.tracking.service import Tracking

MAX_QUEUED = 100_000
"""Entries that may wait in memory; the call that adds one more writes them to the spool itself."""
FLUSH_INTERVAL_S = 0.5
_JOIN_S = 10.0
_log = logging.getLogger("mainspring.client")

Value = str | int | float | bool


class RunLogger:
    """Logs to one run, from any thread. In a ``with`` block the run ends with it: finished, failed or killed.

    `start_run` makes one for a new run. *spool* is a folder of this machine, one for each platform that is logged to.
    """

    def __init__(
        self, tracking: Tracking, run: str, *, spool: Path, max_queued: int = MAX_QUEUED, begin: Start | None = None
    ) -> None:
        """Log to *run*; with *begin*, the run is started first. Raises Unavailable when the spool cannot be written."""
        self.run = run
        self.refused: list[str] = []
        self._max_queued = max_queued
        self._metrics: deque[tuple[str, float, int, int]] = deque()
        self._texts: deque[tuple[bool, str, str]] = deque()
        self._params: dict[str, str] = {}
        self._keys: set[str] = set()
        self._unwritten: list[bytes] = []
        self._lock = threading.RLock()
        self._spool = spool
        self._folder = spool / f"{run}.{new_id()}"
        self._writer = SpoolWriter(self._folder / WRITER)
        self._sender = Sender(tracking, self._folder, self.refused, self._writer.last)
        self._woken, self._progressed = threading.Event(), threading.Condition()
        self._closing = self._ended = False
        self._process = os.getpid()
        if begin is not None:
            self._writer.append_many([encode(begin)])
        self._thread = threading.Thread(target=self._work, name="run-logger", daemon=True)
        self._thread.start()
        self._describing = threading.Thread(target=self._describe, name="run-origin", daemon=True)
        if begin is not None:
            self._describing.start()
        atexit.register(self._at_exit)

    def log_metric(self, key: str, value: float, step: int = 0) -> None:
        """Log a value of a metric now. Raises TypeError or ValueError for what is no number."""
        metrics = self._metrics
        if key not in self._keys:
            check_batch([Metric(key, 0.0)], {}, {})
            self._keys.add(key)
        metrics.append((key, float(value), int(step), time.time_ns() // 1000))
        if len(metrics) >= self._max_queued:
            self._write()

    def log_metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log several metrics at one step."""
        for key, value in values.items():
            self.log_metric(key, value, step)

    def log_param(self, key: str, value: Value) -> None:
        """Set a parameter, once; raises Conflict when this logger has set it to another value."""
        text = str(value)
        check_texts({key: text}, "param", MAX_PARAM_CHARS)
        if self._params.setdefault(key, text) != text:
            raise Conflict(
                f"param {key!r} is {self._params[key]!r} and cannot become {text!r}: params are written once"
            )
        self._texts.append((True, key, text))

    def log_params(self, values: Mapping[str, Value]) -> None:
        """Set several parameters."""
        for key, value in values.items():
            self.log_param(key, value)

    def set_tag(self, key: str, value: Value) -> None:
        """Set a tag, replacing one of the same key."""
        text = str(value)
        check_texts({key: text}, "tag")
        self._texts.append((False, key, text))

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Wait until everything logged so far has arrived; False when it did not in time (it stays on disk).

        What tracking refused for good, such as a parameter that had another value before, is listed in `refused`.
        """
        self._write()
        wanted = self._writer.last
        self._sender.retry_at = 0.0
        self._woken.set()
        with self._progressed:
            return self._progressed.wait_for(lambda: self._sender.sent >= wanted, timeout_s)

    def end(self, status: RunEnd = "finished", timeout_s: float = 30.0) -> bool:
        """End the run after everything that was logged, and wait for that like `flush`; may be repeated."""
        with self._lock:
            if not self._ended:
                self._write()
                self._writer.append_many([encode(End(self.run, status, datetime.now(UTC)))])
                self._ended = True
        return self.close(timeout_s)

    def end_after(self, error: BaseException | None, timeout_s: float = 30.0) -> bool:
        """End the run as a block that ended with *error*: finished without one, failed, or killed."""
        return self.end(_status_after(error), timeout_s)

    @property
    def closed(self) -> bool:
        """Whether nothing more can be logged."""
        return self._closing

    def close(self, timeout_s: float = 30.0) -> bool:
        """Stop logging and leave the run as it is; waits like `flush`."""
        if not self._closing:
            if self._describing.ident is not None:
                self._describing.join(_JOIN_S)
            self.flush(timeout_s)
            self._closing = True
            self._woken.set()
            self._thread.join(_JOIN_S)
            atexit.unregister(self._at_exit)
            self._writer.close()
            self._tidy()
        return self._sender.sent >= self._writer.last

    def _tidy(self) -> None:
        if self._sender.sent >= self._writer.last:
            shutil.rmtree(self._folder, ignore_errors=True)
            return
        _log.warning(
            "run %s: not everything could be sent (%s); it is kept in %s and sent by the next logger with this spool",
            self.run,
            self._sender.trouble,
            self._folder,
        )

    def __enter__(self) -> RunLogger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.end_after(error)

    def _at_exit(self) -> None:
        if os.getpid() == self._process:  # A fork has neither the thread nor a right to the spool.
            self.end_after(getattr(sys, "last_value", None))

    def _write(self) -> None:
        """Move what waits in memory to the spool; what cannot be written stays, and Unavailable is raised."""
        with self._lock:
            while self._unwritten or self._metrics or self._texts:
                if not self._unwritten:
                    self._unwritten.append(encode(self._next_batch()))
                self._writer.append_many(self._unwritten)
                self._unwritten.clear()

    def _next_batch(self) -> Batch:
        metrics = [self._metrics.popleft() for _ in range(min(len(self._metrics), MAX_METRICS))]
        params: dict[str, str] = {}
        tags: dict[str, str] = {}
        while self._texts and len(params) < MAX_PARAMS and len(tags) < MAX_TAGS:
            is_param, key, text = self._texts.popleft()
            (params if is_param else tags)[key] = text
        return Batch(self.run, metrics, params, tags)

    def _describe(self) -> None:
        self._writer.append_many([encode(Origin(self.run, capture_environment(), capture_source()))])

    def _work(self) -> None:
        left_over = True
        while True:
            closing = self._closing
            with suppress(Unavailable, OverLimit):  # The disk is full: the caller hears of it when memory is, too.
                self._write()
            arrived = self._sender.send()
            with self._progressed:
                self._progressed.notify_all()
            if closing:
                return
            if arrived and left_over:
                left_over = False
                send_spooled(self._sender.tracking, self._spool)
            self._woken.wait(FLUSH_INTERVAL_S)
            self._woken.clear()


def start_run(
    tracking: Tracking,
    experiment: str,
    name: str | None = None,
    *,
    spool: Path,
    parent: str | None = None,
    params: Mapping[str, Value] | None = None,
    tags: Mapping[str, str] | None = None,
) -> RunLogger:
    """Start a run and log to it, also while the control plane does not answer: the run appears there later.

    Environment, Git commit, uncommitted changes and untracked files are recorded with it.
    """
    texts = {key: str(value) for key, value in (params or {}).items()}
    check_batch([], texts, tags or {})
    check_path_name(experiment, "experiment")
    run = new_id()
    begin = Start(run, experiment, name, parent, texts, dict(tags or {}), datetime.now(UTC))
    return RunLogger(tracking, run, spool=spool, begin=begin)


def _status_after(error: BaseException | None) -> RunEnd:
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "finished"
    return "failed" if isinstance(error, Exception | SystemExit) else "killed"
