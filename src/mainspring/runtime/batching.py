"""Natural batching: what arrives in one turn of the event loop is one model run, with no timer and no waiting."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from mainspring.core.errors import MainspringError, OverLimit, Unavailable

Item = TypeVar("Item")
Result = TypeVar("Result")


class Turn:
    """The work of one turn of the event loop: all that was asked for, in order, and then *close*, once.

    Several batchers of one turn share what their runs have in common, such as one write, by doing it at the close.
    """

    __slots__ = ("_close", "_loop", "_pending", "_works")

    def __init__(self, loop: asyncio.AbstractEventLoop, close: Callable[[], None]) -> None:
        self._loop, self._close = loop, close
        self._works: list[Callable[[], None]] = []
        self._pending = False

    def call_soon(self, work: Callable[[], None]) -> None:
        """Call *work* in the next turn, or later in this one when it has not begun."""
        self._works.append(work)
        self.close_soon()

    def close_soon(self) -> None:
        """See to it that the close comes, whether or not there is other work."""
        if not self._pending:
            self._pending = True
            self._loop.call_soon(self._run)

    def _run(self) -> None:
        works, self._works = self._works, []
        try:
            for work in works:
                work()
        finally:
            # Only now: what the works leave for the close needs no turn of its own.
            self._pending = False
            if self._works:
                self.close_soon()
            self._close()


class Batcher(Generic[Item, Result]):
    """Gathers items and runs them together, on the loop's thread; every accepted item is answered exactly once.

    *run* takes items in the order of their submission and returns as many results in the same order. Then *done* is
    called once, on the loop, with the items and their results; *failed* is called with an item and its error. If a run
    fails for several items, each is run again alone, so that one bad item cannot fail the others; *run* must therefore
    have no effect when it raises. One run takes at most *max_batch_rows* rows; an item with more rows than that is a
    run of its own. At most *max_waiting* rows wait. One run happens per turn of the loop, so that network events are
    served in between. With *max_delay_ms* a run waits that long for company instead of only for its turn. *abandoned*
    tells of an item whose asker has gone: it is dropped before the run, with Unavailable.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], list[Result]],
        done: Callable[[list[Item], list[Result]], None],
        failed: Callable[[Item, Exception], None],
        *,
        loop: asyncio.AbstractEventLoop,
        turn: Turn | None = None,
        max_batch_rows: int = 256,
        max_waiting: int = 1024,
        max_delay_ms: float = 0.0,
        abandoned: Callable[[Item], bool] | None = None,
    ) -> None:
        self._run = run
        self._done = done
        self._failed = failed
        self._loop = loop
        self._soon: Callable[[Callable[[], None]], object] = loop.call_soon if turn is None else turn.call_soon
        self._max_batch_rows = max_batch_rows
        self._max_waiting = max_waiting
        self._max_delay_s = max_delay_ms / 1000
        self._abandoned = abandoned
        self._waiting: deque[tuple[Item, int]] = deque()
        self._rows = 0
        self._scheduled = False
        self._closed = False

    @property
    def waiting_rows(self) -> int:
        """Rows that were accepted and not run yet."""
        return self._rows

    def submit(self, item: Item, rows: int) -> None:
        """Take *item*, which holds *rows* rows; it is done later, never within this call.

        Raises OverLimit at once if the rows waiting would exceed `max_waiting`; an item larger than that is taken
        only when nothing waits. Raises Unavailable after `close`.
        """
        if self._closed:
            raise Unavailable("the model is being unloaded; try again")
        if self._rows and self._rows + rows > self._max_waiting:
            raise OverLimit(f"{self._rows} rows wait already, at most {self._max_waiting} may; try again later")
        self._waiting.append((item, rows))
        self._rows += rows
        if not self._scheduled:
            self._schedule(self._max_delay_s)

    def close(self) -> None:
        """Take nothing more; what waits is answered with Unavailable, now."""
        self._closed = True
        waiting, self._waiting, self._rows = self._waiting, deque(), 0
        for item, _ in waiting:
            self._failed(item, Unavailable("the model was unloaded before this request ran; try again"))

    def _schedule(self, delay_s: float) -> None:
        self._scheduled = True
        if delay_s > 0:
            self._loop.call_later(delay_s, self._turn)
        else:
            self._soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        items = self._take()
        # Those left over have waited already: they get the next turn, whatever the delay.
        if self._waiting:
            self._schedule(0)
        if items:
            self._answer(items)

    def _take(self) -> list[Item]:
        waiting, room, abandoned = self._waiting, self._max_batch_rows, self._abandoned
        items: list[Item] = []
        if self._rows <= room and abandoned is None:
            items = [one[0] for one in waiting]
            waiting.clear()
            self._rows = 0
            return items
        while waiting and (waiting[0][1] <= room or not items):
            item, rows = waiting.popleft()
            self._rows -= rows
            if abandoned is not None and abandoned(item):
                self._failed(item, Unavailable("the client went away before its request ran"))
                continue
            room -= rows
            items.append(item)
        return items

    def _answer(self, items: list[Item]) -> None:
        try:
            results = self._run(items)
            if len(results) != len(items):
                raise MainspringError(
                    f"the model gave {len(results)} results for {len(items)} requests; none can be trusted"
                )
        except Exception as failure:
            if len(items) == 1:
                self._failed(items[0], failure)
                return
            for item in items:
                self._answer([item])
        else:
            self._done(items, results)
