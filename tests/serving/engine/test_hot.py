"""Requests for a model on a thread gather into batches, and one that fails does not fail the others."""

from __future__ import annotations

import asyncio
import threading
from typing import cast

from mainspring.core.errors import MainspringError
from mainspring.runtime.http.request import Request
from mainspring.serving.engine.checking import Rows
from mainspring.serving.engine.hot import Ask, Opened, Outputs, ThreadLane
from mainspring.serving.engine.session import Session


class Nobody:
    """A connection that nobody listens to."""

    lost = False

    def answered(self, request: Request) -> None:
        """Do nothing."""


REQUEST = Request(Nobody(), b"POST", b"/", [], b"", True, "1.1", ())


class Asked(Ask):
    """A request that keeps how it was answered."""

    __slots__ = ("outcome", "settled")

    def __init__(self, number: float, rows: int = 1) -> None:
        super().__init__(REQUEST, None, None, 0)
        self.rows = Rows(rows, [number])
        self.outcome: object = None
        self.settled = asyncio.Event()

    def settle(self, outcome: object) -> None:
        """Keep how it ended."""
        self.outcome = outcome
        self.settled.set()


class Lane:
    """A thread lane whose runs are recorded; the first run waits until it is let go, and 13 always fails."""

    def __init__(self) -> None:
        self.runs: list[list[float]] = []
        self.closed: list[Session] = []
        self.go = threading.Event()
        session: Session = object()  # type: ignore[assignment]
        self.opened = Opened(session, self.closed.append)
        self.opened.hold()
        self.lane = ThreadLane(self, self.opened, asyncio.get_running_loop())

    def run(self, asks: list[Ask]) -> list[Outputs]:
        """Record one run."""
        self.go.wait(10)
        numbers = [ask.rows.values[0] for ask in asks]
        self.runs.append(numbers)
        if 13.0 in numbers:
            raise MainspringError("thirteen")
        return [[[number]] for number in numbers]

    def ran(self, asks: list[Ask], results: list[Outputs]) -> None:
        """Tell each what it got."""
        for ask, result in zip(asks, results, strict=True):
            cast(Asked, ask).settle(result[0][0])

    def failed(self, ask: Ask, error: Exception) -> None:
        """Tell one what went wrong."""
        cast(Asked, ask).settle(error)

    async def settle(self, asks: list[Asked]) -> None:
        """Wait until all are answered."""
        async with asyncio.timeout(10):
            for ask in asks:
                await ask.settled.wait()


def test_what_arrives_during_a_run_makes_the_next_batch() -> None:
    async def main() -> None:
        lane, asks = Lane(), [Asked(float(number)) for number in range(5)]
        for ask in asks:
            lane.lane.submit(ask, 1)
        lane.go.set()
        await lane.settle(asks)
        assert lane.runs == [[0.0], [1.0, 2.0, 3.0, 4.0]]
        assert [ask.outcome for ask in asks] == [0.0, 1.0, 2.0, 3.0, 4.0]

    asyncio.run(main())


def test_a_run_takes_no_more_rows_than_a_batch_may_have() -> None:
    async def main() -> None:
        lane = Lane()
        asks = [Asked(0.0), Asked(1.0, 200), Asked(2.0, 100), Asked(3.0, 5000), Asked(4.0)]
        for ask in asks:
            lane.lane.submit(ask, ask.rows.rows)
        lane.go.set()
        await lane.settle(asks)
        assert lane.runs == [[0.0], [1.0], [2.0], [3.0], [4.0]]

    asyncio.run(main())


def test_a_request_that_fails_does_so_alone() -> None:
    async def main() -> None:
        lane, asks = Lane(), [Asked(number) for number in (1.0, 2.0, 13.0, 4.0)]
        for ask in asks:
            lane.lane.submit(ask, 1)
        lane.go.set()
        await lane.settle(asks)
        assert [isinstance(ask.outcome, MainspringError) for ask in asks] == [False, False, True, False]

    asyncio.run(main())


def test_a_session_stays_open_until_the_last_request_of_it_is_answered() -> None:
    async def main() -> None:
        lane, ask = Lane(), Asked(1.0)
        lane.lane.submit(ask, 1)
        lane.opened.release()
        assert lane.closed == []
        lane.go.set()
        await lane.settle([ask])
        assert len(lane.closed) == 1

    asyncio.run(main())
