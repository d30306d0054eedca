"""Periodic work goes on after failures, comes at once when woken, and stops when told."""

from __future__ import annotations

import logging
import threading

import pytest

from mainspring.core.errors import Conflict, Unavailable
from mainspring.runtime.periodic import Periodic, each


def test_work_is_done_again_and_at_once_when_woken() -> None:
    calls: list[int] = []
    second = threading.Event()

    def work() -> bool:
        calls.append(1)
        if len(calls) == 2:
            second.set()
        return False

    periodic = Periodic("slow", work, interval_s=3600)
    periodic.start()
    periodic.wake()
    assert second.wait(10)
    assert periodic.stop()


def test_more_to_do_is_done_without_a_pause() -> None:
    left, done = [5], threading.Event()

    def work() -> bool:
        left[0] -= 1
        if left[0] == 0:
            done.set()
        return left[0] > 0

    periodic = Periodic("busy", work, interval_s=3600)
    periodic.start()
    assert done.wait(10)
    assert periodic.stop()
    assert left == [0]


@pytest.mark.parametrize("failure", [RuntimeError("out of luck"), SystemExit(3)])
def test_a_failure_is_logged_and_the_work_goes_on(caplog: pytest.LogCaptureFixture, failure: BaseException) -> None:
    calls, recovered = [0], threading.Event()

    def work() -> bool:
        calls[0] += 1
        if calls[0] < 3:
            raise failure
        recovered.set()
        return False

    with caplog.at_level(logging.ERROR):
        periodic = Periodic("unlucky", work, interval_s=0.001)
        periodic.start()
        assert recovered.wait(10)
        assert periodic.stop()
    assert "unlucky failed 2 times in a row" in caplog.text
    assert periodic.failures == 0


def test_one_that_fails_does_not_hold_up_the_others(caplog: pytest.LogCaptureFixture) -> None:
    broken = {"b": Unavailable("away"), "c": Conflict("somebody else"), "d": KeyError("x")}

    def work(item: str) -> str:
        if item in broken:
            raise broken[item]
        return item.upper()

    assert each("look at", "abcde", work) == (["A", "E"], [("b", "away"), ("d", "KeyError: 'x'")])
    assert [record.getMessage() for record in caplog.records] == ["look at b: away", "look at d"]


def test_stop_waits_for_the_call_that_runs_and_tells_when_it_does_not_end() -> None:
    inside, go_on = threading.Event(), threading.Event()

    def work() -> bool:
        inside.set()
        go_on.wait(10)
        return True

    periodic = Periodic("long", work, interval_s=0.001)
    periodic.start()
    assert inside.wait(10)
    assert not periodic.stop(timeout_s=0.05)
    go_on.set()
    assert periodic.stop()


@pytest.mark.parametrize(
    ("interval_s", "failures", "pause_s"), [(60.0, 0, 60.0), (60.0, 3, 60.0), (4.0, 2, 16.0), (4.0, 9, 30.0)]
)
def test_the_pause_is_the_interval_and_grows_with_failures_up_to_half_a_minute(
    monkeypatch: pytest.MonkeyPatch, interval_s: float, failures: int, pause_s: float
) -> None:
    periodic = Periodic("patient", lambda: False, interval_s=interval_s)
    pauses: list[float | None] = []

    def once() -> bool:
        periodic.failures = failures
        return False

    def wait(timeout: float | None = None) -> bool:
        pauses.append(timeout)
        periodic._stopping.set()
        return False

    monkeypatch.setattr(periodic, "_once", once)
    monkeypatch.setattr(periodic._woken, "wait", wait)
    periodic.start()
    assert periodic.stop()
    assert pauses == [pause_s]
