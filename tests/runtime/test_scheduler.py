"""A timer fires once for each due time, whoever fires it and whatever dies meanwhile."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mainspring.core.actor import current_actor
from mainspring.core.clock import ManualClock
from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.runtime.scheduler import At, Cron, Every, Firing, Scheduler
from mainspring.storage.sql.database import Database

PATIENCE_S = 20.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


class Bell:
    """Remembers what fired, and fails so many times first."""

    def __init__(self, failures: int = 0) -> None:
        self.firings: list[Firing] = []
        self.failures = failures

    def __call__(self, firing: Firing) -> None:
        self.firings.append(firing)
        if self.failures > 0:
            self.failures -= 1
            raise ValueError("broken clapper")

    @property
    def dues(self) -> list[datetime]:
        return [firing.due for firing in self.firings]


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def test_a_timer_fires_when_it_is_due_and_not_before(database: Database, clock: ManualClock) -> None:
    bell, start = Bell(), clock.now()
    scheduler = Scheduler(database, {"ring": bell}, clock=clock)
    scheduler.set("a", kind="ring", schedule=Every(60), payload={"endpoint": "churn"})
    clock.advance(59)
    assert scheduler.fire_due() == 0
    clock.advance(1)
    assert scheduler.fire_due() == 1
    assert scheduler.fire_due() == 0
    clock.advance(60)
    scheduler.fire_due()
    assert bell.dues == [start + timedelta(seconds=60), start + timedelta(seconds=120)]
    assert bell.firings[0].payload == {"endpoint": "churn"}
    assert len({firing.token for firing in bell.firings}) == 2


def test_what_was_missed_is_made_up_once_and_the_rhythm_stays(database: Database, clock: ManualClock) -> None:
    bell, start = Bell(), clock.now()
    Scheduler(database, {}, clock=clock).set("a", kind="ring", schedule=Every(60))
    clock.advance(60 * 10 + 30)
    restarted = Scheduler(database, {"ring": bell}, clock=clock)
    assert restarted.fire_due() == 1
    assert restarted.fire_due() == 0
    assert restarted.timers()[0].next_at == start + timedelta(seconds=660)


def test_cron_and_at_fire_at_their_times(database: Database, clock: ManualClock) -> None:
    bell, start = Bell(), clock.now()
    scheduler = Scheduler(database, {"ring": bell}, clock=clock)
    scheduler.set("nightly", kind="ring", schedule=Cron("30 2 * * *"))
    scheduler.set("once", kind="ring", schedule=At(start + timedelta(hours=1)))
    for _ in range(48):
        clock.advance(1800)
        scheduler.fire_due()
    assert [(firing.timer, firing.due - start) for firing in bell.firings] == [
        ("once", timedelta(hours=1)),
        ("nightly", timedelta(hours=2.5)),
    ]
    assert [timer.next_at for timer in scheduler.timers()] == [start + timedelta(days=1, hours=2.5), None]


def test_setting_the_same_schedule_again_changes_nothing_but_the_payload(
    database: Database, clock: ManualClock
) -> None:
    bell, start = Bell(), clock.now()
    scheduler = Scheduler(database, {"ring": bell}, clock=clock)
    scheduler.set("a", kind="ring", schedule=Every(60), payload=1)
    once = At(start + timedelta(seconds=10))
    scheduler.set("once", kind="ring", schedule=once)
    clock.advance(59)
    scheduler.fire_due()
    scheduler.set("a", kind="ring", schedule=Every(60), payload=2)
    scheduler.set("once", kind="ring", schedule=once)
    clock.advance(1)
    scheduler.fire_due()
    assert [(firing.timer, firing.payload) for firing in bell.firings] == [("once", None), ("a", 2)]
    scheduler.set("a", kind="ring", schedule=Every(5))
    assert scheduler.timers()[0].next_at == clock.now() + timedelta(seconds=5)


def test_a_cancelled_timer_fires_no_more(database: Database, clock: ManualClock) -> None:
    bell = Bell()
    scheduler = Scheduler(database, {"ring": bell}, clock=clock)
    scheduler.set("a", kind="ring", schedule=Every(60))
    scheduler.cancel("a")
    clock.advance(60)
    assert scheduler.fire_due() == 0
    with pytest.raises(NotFound, match="no timer a"):
        scheduler.cancel("a")


def test_a_failed_firing_is_repeated_with_the_same_token_after_growing_waits(
    database: Database, clock: ManualClock
) -> None:
    bell = Bell(failures=2)
    scheduler = Scheduler(database, {"ring": bell}, clock=clock, first_retry_s=10)
    scheduler.set("a", kind="ring", schedule=Every(1000))
    clock.advance(1000)
    fired = []
    for _ in range(5):
        fired.append(scheduler.fire_due())
        clock.advance(10)
    assert fired == [1, 1, 0, 1, 0]
    assert len({firing.token for firing in bell.firings}) == 1
    (timer,) = scheduler.timers()
    assert (timer.attempts, timer.error, timer.last_at) == (0, None, bell.dues[0])


def test_a_firing_that_always_fails_is_given_up_and_the_next_one_comes(database: Database, clock: ManualClock) -> None:
    bell = Bell(failures=2)
    scheduler = Scheduler(database, {"ring": bell}, clock=clock, first_retry_s=1, max_attempts=2)
    scheduler.set("a", kind="ring", schedule=Every(100))
    clock.advance(100)
    scheduler.fire_due()
    clock.advance(1)
    scheduler.fire_due()
    (timer,) = scheduler.timers()
    assert (timer.error, timer.last_at) == ("ValueError: broken clapper", None)
    clock.advance(99)
    scheduler.fire_due()
    assert len(set(bell.dues)) == 2
    assert scheduler.timers()[0].error is None


def test_a_timer_whose_kind_has_no_handler_here_is_left_to_others(database: Database, clock: ManualClock) -> None:
    bell = Bell()
    scheduler = Scheduler(database, {"other": bell}, clock=clock)
    scheduler.set("a", kind="ring", schedule=Every(1))
    clock.advance(5)
    assert scheduler.fire_due() == 0
    assert Scheduler(database, {"ring": bell}, clock=clock).fire_due() == 1


@pytest.mark.parametrize("schedule", [Every(0), Every(-1), Every(1e12), Cron("never"), At(datetime(2026, 1, 1))])
def test_a_schedule_that_cannot_be_is_refused(tmp_path: Path, schedule: Every | Cron | At) -> None:
    from mainspring.runtime.timers import first_time

    with pytest.raises(InvalidRequest):
        first_time(schedule, ManualClock().now())


def test_of_many_schedulers_exactly_one_fires_each_due_time(database: Database) -> None:
    bell = Bell()
    schedulers = [Scheduler(database, {"ring": bell}, poll_interval_s=0.005) for _ in range(4)]
    for number in range(3):
        schedulers[0].set(f"t{number}", kind="ring", schedule=Every(0.05))
    for scheduler in schedulers:
        scheduler.start()
    eventually(lambda: len(bell.firings) >= 30)
    for scheduler in schedulers:
        scheduler.stop()
    tokens = [firing.token for firing in bell.firings]
    assert len(tokens) == len(set(tokens))


def test_a_slow_handler_delays_no_other_timer_and_never_runs_twice_at_a_time(database: Database) -> None:
    release, bell = threading.Event(), Bell()
    slow_runs: list[Firing] = []

    def slow(firing: Firing) -> None:
        slow_runs.append(firing)
        release.wait(PATIENCE_S)

    with Scheduler(database, {"slow": slow, "ring": bell}, poll_interval_s=0.01) as scheduler:
        scheduler.set("slow", kind="slow", schedule=Every(0.01))
        scheduler.set("fast", kind="ring", schedule=Every(0.02))
        eventually(lambda: len(bell.firings) > 5 and len(slow_runs) > 0)
        assert len(slow_runs) == 1
        release.set()
        eventually(lambda: len(slow_runs) > 1)


def test_a_scheduler_that_lost_its_lease_cannot_write_over_its_successor(
    database: Database, clock: ManualClock
) -> None:
    bell = Bell()
    second = Scheduler(database, {"ring": bell}, clock=clock, lease_s=30)

    def stuck(firing: Firing) -> None:
        clock.advance(31)
        assert second.fire_due() == 1

    first = Scheduler(database, {"ring": stuck}, clock=clock, lease_s=30)
    first.set("a", kind="ring", schedule=Every(1000))
    clock.advance(1000)
    assert first.fire_due() == 1
    (timer,) = first.timers()
    assert timer.fence == 2 and timer.last_at == bell.dues[0]
    assert first.fire_due() == second.fire_due() == 0


def test_a_running_firing_keeps_its_lease(database: Database, clock: ManualClock) -> None:
    release, runs = threading.Event(), Bell()

    def slow(firing: Firing) -> None:
        runs(firing)
        release.wait(PATIENCE_S)

    second = Scheduler(database, {"slow": slow}, clock=clock, lease_s=30)
    second.set("a", kind="slow", schedule=Every(1))
    clock.advance(1)
    with Scheduler(database, {"slow": slow}, clock=clock, poll_interval_s=0.01, lease_s=30):
        eventually(lambda: len(runs.firings) == 1)
        for _ in range(3):
            clock.advance(20)
            eventually(lambda: second.timers()[0].lease_until == clock.now() + timedelta(seconds=30))
            assert second.fire_due() == 0
        release.set()


def test_a_handler_that_gives_up_the_process_fails_like_any_other(database: Database) -> None:
    calls: list[str] = []

    def leave(firing: Firing) -> None:
        calls.append(firing.token)
        if len(calls) < 3:
            sys.exit("enough")

    with Scheduler(database, {"ring": leave}, poll_interval_s=0.01, first_retry_s=0.01) as scheduler:
        scheduler.set("a", kind="ring", schedule=At(datetime(2026, 1, 1, tzinfo=UTC)))
        eventually(lambda: scheduler.timers()[0].last_at is not None)
    assert len(calls) == 3 and len(set(calls)) == 1


def test_handlers_act_in_the_name_of_the_scheduler(database: Database, clock: ManualClock) -> None:
    seen: list[str] = []
    scheduler = Scheduler(database, {"ring": lambda firing: seen.append(current_actor().origin)}, clock=clock)
    scheduler.set("a", kind="ring", schedule=Every(1))
    clock.advance(1)
    scheduler.fire_due()
    assert seen == ["timer a"]


_FIRE_AND_HANG = """
import sys, time
from mainspring.runtime.scheduler import Every, Scheduler
from mainspring.storage.sql.database import open_database
def hang(firing):
    print(firing.token, flush=True)
    time.sleep(600)
scheduler = Scheduler(open_database(sys.argv[1]), {"ring": hang}, poll_interval_s=0.01, lease_s=600)
scheduler.set("a", kind="ring", schedule=Every(0.01))
scheduler.start()
time.sleep(600)
"""


def test_kill_9_in_the_middle_of_a_firing_repeats_it_with_the_same_token(database: Database) -> None:
    bell = Bell()
    url = database.engine.url.render_as_string(hide_password=False).replace("+psycopg", "")
    with subprocess.Popen([sys.executable, "-c", _FIRE_AND_HANG, url], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        token = process.stdout.readline().decode().strip()
        survivor = Scheduler(database, {"ring": bell}, lease_s=600)
        assert survivor.fire_due() == 0, "the first one still lives"
        process.kill()
        process.wait()
        assert survivor.fire_due() == 1
    assert bell.firings[0].token == token
