"""What comes in one turn of the loop is written together, and the loop waits for nobody else's writing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from mainspring.core.errors import OverLimit, Unavailable
from mainspring.runtime.write_turns import MAX_TOGETHER, MAX_WAITING, SLOW_S, WriteTurns


class Database:
    """Carries works out, and notes how many at once and where."""

    def __init__(self, *, busy: bool = False, takes_s: float = 0.0, fails: bool = False) -> None:
        self.groups: list[tuple[int, bool]] = []
        self.busy, self.takes_s, self.fails = busy, takes_s, fails

    def together(self, works: Sequence[Callable[[Any], Any]], *, wait: bool = True) -> list[Any] | None:
        if self.busy and not wait:
            return None
        time.sleep(self.takes_s)
        self.groups.append((len(works), threading.current_thread() is threading.main_thread()))
        if self.fails:
            raise Unavailable("the disk is full")
        return [work(None) for work in works]


def outcomes(database: Database, *counts: int) -> list[Any]:
    """Submit so many works in each of some turns, and wait for all."""

    async def run() -> list[Any]:
        turns, told, whole = WriteTurns(database), [], asyncio.Event()

        def tell(outcome: Any) -> None:
            told.append(outcome)
            if len(told) == sum(counts):
                whole.set()

        number = 0
        for count in counts:
            for _ in range(count):
                turns.submit(lambda _, number=number: number, tell)
                number += 1
            await asyncio.sleep(0.001)
        await asyncio.wait_for(whole.wait(), 10)
        turns.close()
        return told

    return asyncio.run(run())


def test_works_of_one_turn_are_written_together_on_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database()
    assert outcomes(database, 3, 1, 5) == list(range(9))
    assert database.groups == [(3, True), (1, True), (5, True)]


def test_while_somebody_else_writes_a_thread_waits_and_not_the_loop() -> None:
    database = Database(busy=True, takes_s=0.02)
    # What comes while the thread waits is written together when it is done.
    assert sorted(outcomes(database, 1, 2, 2, 2)) == list(range(7))
    assert database.groups[0] == (1, False)
    assert len(database.groups) < 4
    assert not any(on_loop for _, on_loop in database.groups)


def test_a_slow_disk_does_not_stop_the_loop() -> None:
    database = Database(takes_s=8 * SLOW_S)
    outcomes(database, *[1] * 3)
    assert database.groups[0] == (1, True)
    assert not any(on_loop for _, on_loop in database.groups[1:])


def test_a_group_is_bounded_and_so_is_the_line() -> None:
    database = Database()
    assert outcomes(database, MAX_TOGETHER + 3) == list(range(MAX_TOGETHER + 3))
    assert [count for count, _ in database.groups] == [MAX_TOGETHER, 3]

    async def fill() -> None:
        turns = WriteTurns(database)
        for _ in range(MAX_WAITING):
            turns.submit(lambda _: None, lambda _: None)
        with pytest.raises(OverLimit):
            turns.submit(lambda _: None, lambda _: None)
        turns.close()

    asyncio.run(fill())


def test_what_fails_for_all_is_told_to_each() -> None:
    told = outcomes(Database(fails=True), 2)
    assert [type(outcome) for outcome in told] == [Unavailable, Unavailable]
