"""The prediction log of one data worker: every answer is in the spool before it is sent.

A prediction is appended to the spool file before its answer leaves, so an answered prediction survives the death of the
process; what all models did in one turn of the event loop is one write. The file is forced to disk some times a
second, which bounds what a power cut can take. A label is answered only after the disk has it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Protocol

from mainspring.core.errors import MainspringError, OverLimit, Unavailable
from mainspring.runtime.batching import Turn

Durable = Callable[[MainspringError | None], None]


class Spool(Protocol):
    """Where facts are appended; runtime's spool writer keeps it."""

    def append_many(self, records: list[bytes]) -> object:
        """Append records to the file, in order."""
        ...

    def sync(self) -> object:
        """Force what was appended to disk."""
        ...


class PredictionLog:
    """Appends facts on the loop's thread, and forces them to disk on a thread of its own."""

    def __init__(self, spool: Spool, loop: asyncio.AbstractEventLoop, *, interval_s: float = 0.2) -> None:
        self._spool, self._loop, self._interval_s = spool, loop, interval_s
        self._lock = threading.Lock()
        self._waiting: list[Durable] = []
        self._dirty = self._closing = False
        self._staged: list[tuple[bytes, Durable]] = []
        self.turn = Turn(loop, self._append_staged)
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._force, name="prediction-log", daemon=True)
        self._thread.start()

    def append(self, facts: list[bytes]) -> None:
        """Put encoded facts into the spool, all or none; raises Unavailable when they cannot be written."""
        try:
            self._spool.append_many(facts)
        except (OverLimit, Unavailable) as failed:
            raise Unavailable(
                f"the prediction log is not writable, and nothing is answered unlogged: {failed}"
            ) from failed
        self._dirty = True

    def append_soon(self, fact: bytes, then: Durable) -> None:
        """Append one fact together with all others of this turn of the loop, then call *then*, on the loop.

        *then* gets what stood in the way, or None when the fact is in the spool.
        """
        self._staged.append((fact, then))
        self.turn.close_soon()

    def when_durable(self, done: Durable) -> None:
        """Call *done* on the loop once everything appended so far is on disk, or with what stood in the way."""
        with self._lock:
            self._waiting.append(done)
        self._wake.set()

    def close(self) -> None:
        """Force the rest to disk and end the thread."""
        self._closing = True
        self._wake.set()
        self._thread.join()

    def _append_staged(self) -> None:
        staged, self._staged = self._staged, []
        if not staged:
            return
        failed = self._try([fact for fact, _ in staged])
        for fact, then in staged:
            # Together they may be too large, and one that is must not be in the way of the others.
            then(self._try([fact]) if failed is not None and len(staged) > 1 else failed)

    def _try(self, facts: list[bytes]) -> MainspringError | None:
        try:
            self.append(facts)
        except MainspringError as failed:
            return failed
        return None

    def _force(self) -> None:
        while not self._closing:
            self._wake.wait(self._interval_s)
            self._wake.clear()
            self._force_once()
        self._force_once()

    def _force_once(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        if not waiting and not self._dirty:
            return
        self._dirty = False
        failed = None
        try:
            self._spool.sync()
        except Unavailable as error:
            failed = Unavailable(f"not durable: {error}; send it again")
        if waiting and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_tell, waiting, failed)


def _tell(waiting: list[Durable], failed: MainspringError | None) -> None:
    for done in waiting:
        done(failed)
