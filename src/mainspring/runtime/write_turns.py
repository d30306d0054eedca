"""Writes that came in one turn of the event loop share one transaction and one sync of the disk.

They are carried out on the loop's thread, as long as nobody else is writing and the disk answers quickly: to hand them
to a thread and back costs as much as they do. Else they go to one thread, which takes together what came meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

from mainspring.core.errors import OverLimit

MAX_WAITING = 1024
MAX_TOGETHER = 128
SLOW_S = 0.005
"""What a turn may keep the loop waiting, on average, before the thread takes over."""
_WEIGHT = 0.2


class Together(Protocol):
    """What carries works out: a database with one writer."""

    def together(self, works: Sequence[Callable[[Any], Any]], *, wait: bool = True) -> list[Any] | None:
        """Give the outcomes in their order, exceptions among them; None when it would have to wait and must not."""


class _Waiting(NamedTuple):
    work: Callable[[Any], Any]
    then: Callable[[Any], None]


class WriteTurns:
    """Collects works, and tells each caller its outcome, or the Exception, once it is durable. For one event loop."""

    def __init__(self, database: Together) -> None:
        self._database = database
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._waiting: list[_Waiting] = []
        self._scheduled = self._threaded = False
        self._usual_s = 0.0

    def submit(self, work: Callable[[Any], Any], then: Callable[[Any], None]) -> None:
        """Have *work* carried out, and *then* called with its outcome, on the loop's thread.

        Work that takes longer than some tenths of a millisecond does not belong here. Raises OverLimit when too many
        wait already.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise OverLimit("more writes wait than can be taken; try again in a second")
        self._waiting.append(_Waiting(work, then))
        if not (self._scheduled or self._threaded):
            self._scheduled = True
            # Behind everything that the loop has read by now: what came with it is written with it.
            self._loop.call_soon(self._turn)

    def close(self) -> None:
        """Return when what the thread has begun is done."""
        self._thread.shutdown()

    def _turn(self) -> None:
        self._scheduled = False
        taken, self._waiting = self._waiting[:MAX_TOGETHER], self._waiting[MAX_TOGETHER:]
        if self._usual_s < SLOW_S:
            outcomes = self._carried_out(taken, wait=False)
            if outcomes is not None:
                self._tell(taken, outcomes)
                return
        self._threaded = True
        self._loop.run_in_executor(self._thread, self._in_thread, taken)

    def _carried_out(self, taken: list[_Waiting], *, wait: bool) -> list[Any] | None:
        """Give the outcomes; None, only without *wait*, when somebody else is writing."""
        began = time.perf_counter()
        try:
            return self._database.together([one.work for one in taken], wait=wait)
        except Exception as error:
            return [error] * len(taken)
        finally:
            self._usual_s += _WEIGHT * (time.perf_counter() - began - self._usual_s)

    def _in_thread(self, taken: list[_Waiting]) -> None:
        outcomes = self._carried_out(taken, wait=True)
        self._loop.call_soon_threadsafe(self._after_thread, taken, outcomes or [])

    def _after_thread(self, taken: list[_Waiting], outcomes: list[Any]) -> None:
        self._threaded = False
        self._tell(taken, outcomes)

    def _tell(self, taken: list[_Waiting], outcomes: list[Any]) -> None:
        if self._waiting and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)
        for one, outcome in zip(taken, outcomes, strict=True):
            one.then(outcome)
