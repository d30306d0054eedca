"""Natural batching: what arrives in one turn of the event loop is one model run, with no timer and no waiting."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from mainspring.core.errors import MainspringError, OverLimit, Unavailable

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Gathers items and runs them together, on the loop's thread; every accepted item is answered exactly once.

    *run* takes items in the order of their submission and returns as many results in the same order. If it fails
    for several items, each is run again alone, so that one bad item cannot fail the others; *run* must therefore
    have no effect when it raises. One run takes at most *max_batch_rows* rows; an item with more rows than that is
    a run of its own. At most *max_waiting* rows wait. One run happens per turn of the loop, so that network events
    are served in between. With *max_delay_ms* a run waits that long for company instead of only for its turn.
    *abandoned* tells of an item whose asker has gone: it is dropped before the run, with Unavailable.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], list[Result]],
        *,
        loop: asyncio.AbstractEventLoop,
        max_batch_rows: int = 256,
        max_waiting: int = 1024,
        max_delay_ms: float = 0.0,
        abandoned: Callable[[Item], bool] | None = None,
    ) -> None:
        self._run = run
        self._loop = loop
        self._max_batch_rows = max_batch_rows
        self._max_waiting = max_waiting
        self._max_delay_s = max_delay_ms / 1000
        self._abandoned = abandoned
        self._waiting: deque[tuple[Item, int, Callable[[Result | Exception], None]]] = deque()
        self._rows = 0
        self._scheduled = False
        self._closed = False

    @property
    def waiting_rows(self) -> int:
        """Rows that were accepted and not run yet."""
        return self._rows

    def submit(self, item: Item, rows: int, done: Callable[[Result | Exception], None]) -> None:
        """Take *item*, which holds *rows* rows; *done* is called later, on the loop, with its result or its error.

        Raises OverLimit at once if the rows waiting would exceed `max_waiting`; an item larger than that is taken
        only when nothing waits. Raises Unavailable after `close`.
        """
        if self._closed:
            raise Unavailable("the model is being unloaded; try again")
        if self._rows and self._rows + rows > self._max_waiting:
            raise OverLimit(f"{self._rows} rows wait already, at most {self._max_waiting} may; try again later")
        self._waiting.append((item, rows, done))
        self._rows += rows
        if not self._scheduled:
            self._schedule(self._max_delay_s)

    def close(self) -> None:
        """Take nothing more; what waits is answered with Unavailable, now."""
        self._closed = True
        waiting, self._waiting, self._rows = self._waiting, deque(), 0
        for _, _, done in waiting:
            done(Unavailable("the model was unloaded before this request ran; try again"))

    def _schedule(self, delay_s: float) -> None:
        self._scheduled = True
        if delay_s > 0:
            self._loop.call_later(delay_s, self._turn)
        else:
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        items, dones = self._take()
        # Those left over have waited already: they get the next turn, whatever the delay.
        if self._waiting:
            self._schedule(0)
        if items:
            self._answer(items, dones)

    def _take(self) -> tuple[list[Item], list[Callable[[Result | Exception], None]]]:
        waiting, room, abandoned = self._waiting, self._max_batch_rows, self._abandoned
        items: list[Item] = []
        dones: list[Callable[[Result | Exception], None]] = []
        if self._rows <= room and abandoned is None:
            items, dones = [one[0] for one in waiting], [one[2] for one in waiting]
            waiting.clear()
            self._rows = 0
            return items, dones
        while waiting and (waiting[0][1] <= room or not items):
            item, rows, done = waiting.popleft()
            self._rows -= rows
            if abandoned is not None and abandoned(item):
                done(Unavailable("the client went away before its request ran"))
                continue
            room -= rows
            items.append(item)
            dones.append(done)
        return items, dones

    def _answer(self, items: list[Item], dones: list[Callable[[Result | Exception], None]]) -> None:
        outcomes: list[Result | Exception]
        try:
            results = self._run(items)
        except Exception as failure:
            outcomes = [failure] if len(items) == 1 else [self._alone(item) for item in items]
        else:
            outcomes = [*results] if len(results) == len(items) else [_miscounted(items, results)] * len(items)
        for done, outcome in zip(dones, outcomes, strict=True):
            done(outcome)

    def _alone(self, item: Item) -> Result | Exception:
        try:
            results = self._run([item])
        except Exception as failure:
            return failure
        return results[0] if len(results) == 1 else _miscounted([item], results)


def _miscounted(items: list[Item], results: list[Result]) -> MainspringError:
    return MainspringError(f"the model gave {len(results)} results for {len(items)} requests; none can be trusted")
