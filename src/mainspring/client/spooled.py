"""A run that is logged to: its queue on disk, the threads that fill and empty it, its end, and its forks."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from mainspring.client import forking
from mainspring.client.capture.wanted import watchers_for
from mainspring.client.capture.watchers import Captures, Watcher
from mainspring.client.entries import Description, End, Entry, Left, Start
from mainspring.client.queueing import RunQueue
from mainspring.client.sending import MAX_REFUSED, Link, Sender
from mainspring.client.signals import Terminated, raise_on_sigterm, stop_raising, terminated
from mainspring.client.syncing import send_spooled
from mainspring.core.errors import InvalidRequest, MainspringError, OverLimit, Unavailable
from mainspring.tracking.model import RunEnd

MAX_QUEUED = 100_000
"""Entries that may wait in memory; the call that adds one more writes them to the spool itself."""
MAX_SPOOL_BYTES = 4 * 2**30
FLUSH_INTERVAL_S = 0.5
_JOIN_S = 10.0
_log = logging.getLogger("mainspring.client")


class SpooledRun:
    """Keeps what is logged to one run, and sends it. In a ``with`` block the run ends with it."""

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
        self._alerted: dict[str, float] = {}
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.end_after(error)

    def _at_exit(self) -> None:
        if os.getpid() == self._process:  # A fork that logged nothing has nothing to end.
            self._at_end = True
            self.end_after(getattr(sys, "last_value", None))

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
