"""Natural batching: what is run together, who is answered what, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from mainspring.core.errors import MainspringError, OverLimit, Unavailable
from mainspring.runtime.batching import Batcher, Turn


class Model:
    """Doubles numbers and remembers its runs; fails on a batch with 13 in it."""

    def __init__(self) -> None:
        self.runs: list[list[int]] = []

    def __call__(self, items: list[int]) -> list[int]:
        self.runs.append(list(items))
        if 13 in items:
            raise ValueError("13 is not served")
        return [item * 2 for item in items]


Answers = dict[int, "int | Exception"]


def submitted(
    items: list[int], model: Callable[[list[int]], list[int]], rows: int = 1, turns: int = 5, **options: Any
) -> Answers:
    """What each of *items* is answered when all are submitted in one turn of the loop."""

    async def work() -> Answers:
        answers: Answers = {}
        batcher = made(model, answers.__setitem__, **options)
        for item in items:
            batcher.submit(item, rows)
        for _ in range(turns):
            await asyncio.sleep(0)
        return dict(answers)

    return run(work())


def made(
    model: Callable[[list[int]], list[int]], answer: Callable[[int, int | Exception], object], **options: Any
) -> Batcher[int, int]:
    """A batcher that tells of each item how it ended."""

    def done(items: list[int], results: list[int]) -> None:
        for item, result in zip(items, results, strict=True):
            answer(item, result)

    def failed(item: int, error: Exception) -> None:
        answer(item, error)

    return Batcher(model, done, failed, loop=asyncio.get_running_loop(), **options)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def test_what_arrives_in_one_turn_is_one_run_and_each_gets_its_own_answer() -> None:
    model = Model()
    assert submitted([1, 2, 3], model) == {1: 2, 2: 4, 3: 6}
    assert model.runs == [[1, 2, 3]]


def test_a_single_item_waits_for_no_company() -> None:
    model = Model()
    assert submitted([7], model, turns=1) == {7: 14}


def test_a_run_takes_no_more_rows_than_it_may_and_the_rest_comes_in_the_next_turn() -> None:
    model = Model()
    assert submitted([1, 2, 3, 4, 5], model, rows=2, turns=1, max_batch_rows=4) == {1: 2, 2: 4}
    assert submitted([1, 2, 3, 4, 5], model, rows=2, max_batch_rows=4).keys() == {1, 2, 3, 4, 5}
    assert model.runs[-3:] == [[1, 2], [3, 4], [5]]


def test_an_item_larger_than_a_run_is_run_alone() -> None:
    model = Model()
    assert submitted([1, 2], model, rows=100, max_batch_rows=10) == {1: 2, 2: 4}
    assert model.runs == [[1], [2]]


def test_more_rows_than_may_wait_are_refused_at_once_and_the_others_are_served() -> None:
    async def work() -> list[Any]:
        answers: list[Any] = []
        batcher = made(Model(), lambda _, answer: answers.append(answer), max_waiting=10)
        batcher.submit(1, 6)
        with pytest.raises(OverLimit, match="6 rows wait already, at most 10"):
            batcher.submit(2, 5)
        batcher.submit(3, 4)
        assert batcher.waiting_rows == 10
        await asyncio.sleep(0)
        assert batcher.waiting_rows == 0
        batcher.submit(4, 5)
        await asyncio.sleep(0)
        return answers

    assert run(work()) == [2, 6, 8]


def test_one_bad_item_fails_alone() -> None:
    model = Model()
    answers = submitted([1, 13, 3], model)
    assert (answers[1], answers[3]) == (2, 6)
    assert isinstance(answers[13], ValueError)
    assert model.runs == [[1, 13, 3], [1], [13], [3]]


def test_a_bad_item_alone_is_run_once() -> None:
    model = Model()
    assert isinstance(submitted([13], model)[13], ValueError)
    assert model.runs == [[13]]


def test_a_model_that_gives_another_number_of_results_answers_nobody_with_them() -> None:
    answers = submitted([1, 2, 3], lambda items: [2, 4])
    assert [str(answer) for answer in answers.values()] == [
        "the model gave 2 results for 1 requests; none can be trusted"
    ] * 3
    assert all(isinstance(answer, MainspringError) for answer in answers.values())


def test_items_whose_asker_has_gone_are_dropped_before_the_run() -> None:
    model = Model()
    answers = submitted([1, 2, 3], model, abandoned=lambda item: item == 2)
    assert model.runs == [[1, 3]]
    assert (answers[1], answers[3]) == (2, 6)
    assert isinstance(answers[2], Unavailable)


def test_a_delay_gathers_what_comes_within_it() -> None:
    model = Model()

    async def work() -> None:
        answered = asyncio.Event()
        batcher = made(model, lambda *_: answered.set(), max_delay_ms=30)
        batcher.submit(1, 1)
        await asyncio.sleep(0.001)
        assert model.runs == []
        batcher.submit(2, 1)
        await asyncio.wait_for(answered.wait(), 10)

    run(work())
    assert model.runs == [[1, 2]]


def test_closing_answers_what_waits_and_refuses_what_comes() -> None:
    async def work() -> list[Any]:
        answers: list[Any] = []
        batcher = made(Model(), lambda _, answer: answers.append(answer))
        batcher.submit(1, 1)
        batcher.close()
        with pytest.raises(Unavailable):
            batcher.submit(2, 1)
        await asyncio.sleep(0)
        return answers

    answers = run(work())
    assert len(answers) == 1
    assert isinstance(answers[0], Unavailable)


def test_batchers_that_share_a_turn_are_closed_together_once() -> None:
    async def work() -> list[str]:
        told: list[str] = []
        turn = Turn(asyncio.get_running_loop(), lambda: told.append("close"))
        batchers = [made(Model(), lambda item, _: told.append(str(item)), turn=turn) for _ in range(2)]
        batchers[0].submit(1, 1)
        batchers[1].submit(2, 1)
        batchers[0].submit(3, 1)
        await asyncio.sleep(0)
        return told

    assert run(work()) == ["1", "3", "2", "close"]


def test_what_does_not_fit_into_a_turn_comes_in_the_next_one_and_is_closed_too() -> None:
    async def work() -> list[str]:
        told: list[str] = []
        turn = Turn(asyncio.get_running_loop(), lambda: told.append("close"))
        batcher = made(Model(), lambda item, _: told.append(str(item)), turn=turn, max_batch_rows=1)
        batcher.submit(1, 1)
        batcher.submit(2, 1)
        for _ in range(3):
            await asyncio.sleep(0)
        return told

    assert run(work()) == ["1", "close", "2", "close"]


def test_a_turn_is_closed_when_its_work_fails_and_when_it_has_none() -> None:
    async def work() -> list[str]:
        told: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(str(context["exception"])))
        turn = Turn(asyncio.get_running_loop(), lambda: told.append("close"))

        def broken() -> None:
            raise ValueError("broken")

        turn.call_soon(broken)
        await asyncio.sleep(0)
        turn.close_soon()
        turn.close_soon()
        await asyncio.sleep(0)
        return told

    assert run(work()) == ["close", "broken", "close"]
