"""Logging to a run without waiting: a call takes microseconds, and what was logged survives outages and crashes.

Calls put entries in memory. One thread writes them in batches to a spool on disk, and another sends them from there, in
order, as often as it takes; tracking knows a batch that it has seen by its writer and number. What a process could
not send before it ended is sent by the next logger with the same spool, or by `mainspring sync`.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from mainspring.client import forking
from mainspring.client.capture.wanted import watchers_for
from mainspring.client.capture.watchers import Captures, Watcher
from mainspring.client.entries import Description, End, Entry, Left, Start
from mainspring.client.numbers import points_of
from mainspring.client.queueing import RunQueue
from mainspring.client.sending import MAX_REFUSED, Link, Sender
from mainspring.client.signals import Terminated, raise_on_sigterm, stop_raising, terminated
from mainspring.client.syncing import send_spooled
from mainspring.core.errors import Conflict, InvalidRequest, MainspringError, OverLimit, Unavailable
from mainspring.tracking.artifacts import check_path
from mainspring.tracking.limits import check_batch, check_texts
from mainspring.tracking.model import MAX_PARAM_CHARS, Metric, RunEnd

MAX_QUEUED = 100_000
"""Entries that may wait in memory; the call that adds one more writes them to the spool itself."""
MAX_SPOOL_BYTES = 4 * 2**30
FLUSH_INTERVAL_S = 0.5
_JOIN_S = 10.0
_log = logging.getLogger("mainspring.client")

Value = str | int | float | bool


class RunLogger:
    """Logs to one run, from any thread. In a ``with`` block the run ends with it: finished, failed or killed.

    `mainspring.start_run` makes one. No call waits for the platform or raises because it is away; what does not fit on
    the disk either is dropped, counted in `dropped` and in the tag ``mainspring.dropped`` of the run.
    """

    def __init__(
        self,
        link: Link,
        run: str,
        *,
        spool: Path,
        begin: Start | None = None,
        own: bool = True,
        offline: bool = False,
        max_queued: int = MAX_QUEUED,
        max_bytes: int = MAX_SPOOL_BYTES,
    ) -> None:
        """Log to *run*; with *begin*, the run is started first. Raises Unavailable when the spool cannot be written.

        *spool* is a folder of this machine, one for each platform that is logged to. *offline*, everything stays in it.
        A run that is not its *own* is left as it is where another one's logger would end it.
        """
        self.run = run
        self.link, self.offline = link, offline
        self._refused: deque[str] = deque(maxlen=MAX_REFUSED)
        self._max_queued, self._max_bytes = max_queued, max_bytes
        self._params: dict[str, str] = {}
        self._keys: set[str] = set()
        self._step, self._stepping = 0, threading.Lock()
        self._spool, self._watchers = spool, list[Watcher]()
        self._closing = self._sent = self._ended = self._at_end = False
        self._process, self._joining, self._forked = os.getpid(), threading.Lock(), False
        self._primary, self._limit = own, max_queued
        self._handles_sigterm = self._primary and raise_on_sigterm()
        description = Description(run)
        if begin is not None:
            description = Description(run, begin.experiment, begin.name, begin.started, begun=True)
        self._open_queue(description)
        self._root = self._queue.folder.name
        self._children = forking.Children(spool, run, self._queue.folder, link, self._refused)
        if begin is not None:
            self._queue.append(begin)
        self._start_threads()
        atexit.register(self._at_exit)
        forking.follow(self)

    def _open_queue(self, description: Description) -> None:
        self._queue = RunQueue(self._spool, description, max_bytes=self._max_bytes)
        self._metrics, self._texts = self._queue.metrics, self._queue.texts
        self._sender = Sender(self.link, self._queue.folder, self._refused, self._queue.last)

    def _start_threads(self) -> None:
        self._woken, self._progressed = threading.Event(), threading.Condition()
        self._written = threading.Event()
        self._writer = threading.Thread(target=self._write_often, name="run-writer", daemon=True)
        self._writer.start()
        self._sending: threading.Thread | None = None
        if not self.offline:
            self._sending = threading.Thread(target=self._send_often, name="run-sender", daemon=True)
            self._sending.start()

    def watch(self, captures: Captures) -> None:
        """Record what else is wanted of this run from now on."""
        self._watchers = watchers_for(captures, self._queue)
        self._written.set()

    @property
    def refused(self) -> list[str]:
        """What tracking refused for good, such as a parameter that had another value before."""
        return list(self._refused)

    @property
    def dropped(self) -> int:
        """How many values were lost because there was no room for them on the disk."""
        return self._queue.dropped

    @property
    def folder(self) -> Path:
        """Give where it is kept until it has arrived."""
        return self._queue.folder

    def log(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Log values that belong to one step, all or none of them; without *step*, to the one after the last.

        A value is a number, or a mapping of more of them (``{"train": {"loss": 0.3}}`` is ``train/loss``). What is to
        be the x-axis of others, such as an epoch, is logged along with them. Raises TypeError for what is no number.
        """
        at = time.time_ns() // 1000
        points = points_of(values, self._keys)
        with self._stepping:
            if step is None:
                step = self._step
            self._step = step + 1
        metrics = self._metrics
        metrics.extend([(key, number, step, at) for key, number in points])
        if len(metrics) >= self._limit:
            self._relieve()

    def log_metric(self, key: str, value: float, step: int = 0) -> None:
        """Log a value of a metric now. Raises TypeError or ValueError for what is no number."""
        metrics = self._metrics
        if key not in self._keys:
            check_batch([Metric(key, 0.0)], {}, {})
            self._keys.add(key)
        metrics.append((key, float(value), int(step), time.time_ns() // 1000))
        if len(metrics) >= self._limit:
            self._relieve()

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
        self._add_text(True, key, text)

    def log_params(self, values: Mapping[str, Value]) -> None:
        """Set several parameters."""
        for key, value in values.items():
            self.log_param(key, value)

    def set_tag(self, key: str, value: Value) -> None:
        """Set a tag, replacing one of the same key."""
        text = str(value)
        check_texts({key: text}, "tag")
        self._add_text(False, key, text)

    def set_tags(self, values: Mapping[str, Value]) -> None:
        """Set several tags."""
        for key, value in values.items():
            self.set_tag(key, value)

    def log_artifact(self, path: str, data: bytes | str) -> None:
        """Leave bytes, or a text, behind as the file *path* of the run, instead of what was there.

        This and `log_file` raise OverLimit or Unavailable when there is no room for it on this machine's disk.
        """
        self._check_open()
        self._queue.keep_bytes(check_path(path), data.encode() if isinstance(data, str) else data)
        self._written.set()

    def log_file(self, file: Path | str, path: str | None = None) -> None:
        """Leave the content that a file has now behind, as *path* or under its own name; a folder with all in it."""
        self._check_open()
        source = Path(file)
        inside = sorted(one for one in source.rglob("*") if one.is_file()) if source.is_dir() else [source]
        for one in inside:
            below = one.relative_to(source).as_posix() if one != source else ""
            name = "/".join(part for part in (path if path is not None else source.name, below) if part)
            self._queue.keep_file(check_path(name), one)
        self._written.set()

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Wait until everything logged so far has arrived; False when it did not in time (it stays on disk).

        Offline, it has arrived when it is on the disk. What was refused for good is listed in `refused`.
        """
        if self._process != os.getpid():
            self._join_after_fork()
        written = False
        with suppress(Unavailable, OverLimit):
            self._queue.write()
            written = True
        if self.offline:
            return written
        wanted = self._queue.last
        self._sender.retry_at = 0.0
        self._woken.set()
        with self._progressed:
            return self._progressed.wait_for(lambda: self._sender.sent >= wanted, timeout_s) and written

    def end(self, status: RunEnd = "finished", timeout_s: float = 30.0) -> bool:
        """End the run after everything that was logged, and wait for that like `flush`; may be repeated."""
        if self._primary and not self._ended:
            self._ended = True
            self._stop(End(self.run, status, datetime.now(UTC)), timeout_s)
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
            self._stop(Left(self.run), timeout_s)
        return self._arrived

    @property
    def _arrived(self) -> bool:
        return self.offline or self._sender.sent >= self._queue.last

    def _stop(self, last: Entry, timeout_s: float) -> None:
        if self._process != os.getpid():
            self._join_after_fork()
        self._closing, self._limit = True, 0
        self._written.set()
        self._writer.join(_JOIN_S)
        for watcher in self._watchers:
            with suppress(Unavailable, OverLimit):
                watcher.finish(self._queue)
        with suppress(Unavailable, OverLimit):  # Of a run whose logger could not say how it ended, `sync` says so.
            self._queue.append(last)
        # An interpreter that ends imports nothing any more, and of a short script the platform is not open by then.
        by_another = self._at_end and not self.offline and not self.link.opened
        if by_another:
            self.link.close()
        else:
            self.flush(timeout_s)
        self._sent = True
        self._woken.set()
        if self._sending is not None and not by_another:
            self._sending.join(_JOIN_S)
        atexit.unregister(self._at_exit)
        if self._handles_sigterm:
            stop_raising()
        with suppress(Unavailable):
            self._queue.close()
        self.link.close()
        if by_another and self.link.send_by_another(self._queue.folder, timeout_s):
            return
        self._tidy()

    def _tidy(self) -> None:
        if self.offline:
            return
        if self._arrived:
            self._queue.forget()
            return
        _log.warning(
            "run %s: not everything could be sent (%s); it is kept in %s for the next run, or `mainspring sync`",
            self.run,
            self._sender.trouble,
            self._queue.folder,
        )

    def __enter__(self) -> RunLogger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.end_after(error)

    def _at_exit(self) -> None:
        if os.getpid() == self._process:  # A fork that logged nothing has nothing to end.
            self._at_end = True
            self.end_after(getattr(sys, "last_value", None))

    def _add_text(self, is_param: bool, key: str, text: str) -> None:
        self._texts.append((is_param, key, text))
        if len(self._texts) >= self._limit:
            self._relieve()

    def _check_open(self) -> None:
        if self._closing:
            raise InvalidRequest(f"run {self.run} was ended here: start another, or go on with run={self.run!r}")
        if self._process != os.getpid():
            self._join_after_fork()

    def _relieve(self) -> None:
        if self._process != os.getpid():
            self._join_after_fork()
        if self._closing:
            self._metrics.clear()
            self._texts.clear()
            self._check_open()
        if len(self._metrics) >= self._max_queued or len(self._texts) >= self._max_queued:
            self._queue.relieve()

    def _write_often(self) -> None:
        while not self._closing:
            with suppress(Unavailable, OverLimit):  # The disk is full: what does not fit in memory either is dropped.
                self._queue.write()
            for watcher in self._watchers:
                with suppress(Unavailable, OverLimit):
                    watcher.look(self._queue)
            self._woken.set()
            self._written.wait(FLUSH_INTERVAL_S)
            self._written.clear()

    def _send_often(self) -> None:
        left_over = True
        while True:
            closing = self._sent
            arrived = self._sender.send()
            if self._forked:
                self._children.send()
            with self._progressed:
                self._progressed.notify_all()
            if closing:
                return
            if arrived and left_over:
                left_over = False
                with suppress(MainspringError):
                    send_spooled(self.link.receiver(), self._spool)
            self._woken.wait(FLUSH_INTERVAL_S)
            self._woken.clear()

    # Forks

    def forked(self) -> None:
        """Send for the processes that were forked off, too."""
        self._forked = True

    def born(self) -> None:
        """Begin anew in a process that was forked off, at its first call; what waited in memory is its parent's."""
        if self._closing:
            return
        self._stepping, self._joining = threading.Lock(), threading.Lock()
        self._metrics, self._texts = deque(), deque()
        self._limit = 0

    def _join_after_fork(self) -> None:
        with self._joining:
            if self._process == os.getpid():
                return
            metrics, texts = self._metrics, self._texts
            # Its connections are its parent's, which sends what it writes.
            self.offline, self._primary, self._ended = True, False, False
            self._watchers.clear()
            self._open_queue(Description(self.run, sent_by=self._root))
            self._metrics.extend(metrics)
            self._texts.extend(texts)
            self._limit, self._process = self._max_queued, os.getpid()
            self._start_threads()
            forking.before_child_ends(self.close)


def _status_after(error: BaseException | None) -> RunEnd:
    if isinstance(error, Terminated) or terminated():
        return "killed"
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "finished"
    return "failed" if isinstance(error, Exception | SystemExit) else "killed"
