"""Every subscriber gets every event at least once, in order; one that fails holds up nobody but itself."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mainspring.core.actor import current_actor
from mainspring.core.clock import ManualClock
from mainspring.core.errors import Conflict
from mainspring.core.events import Event, Recorded
from mainspring.runtime.outbox import Outbox, Subscription
from mainspring.storage.sql.database import Database, open_database
from mainspring.storage.sql.journal import emit

PATIENCE_S = 20.0


class Happened(Event, frozen=True, kw_only=True):
    number: int


class Ignored(Event, frozen=True, kw_only=True):
    number: int


def happen(database: Database, *numbers: int) -> None:
    for number in numbers:
        with database.begin() as connection:
            emit(connection, Happened(number=number))


class Listener:
    """Remembers the numbers it was given, and fails on some."""

    def __init__(self, *, fails_on: int | None = None, times: int = 10**9) -> None:
        self.numbers: list[int] = []
        self.calls = 0
        self.fails_on, self.times = fails_on, times

    def __call__(self, event: Recorded) -> None:
        self.calls += 1
        if event.body["number"] == self.fails_on and self.times > 0:
            self.times -= 1
            raise ValueError(f"no {self.fails_on} today")
        self.numbers.append(event.body["number"])


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def test_events_come_in_order_and_only_of_the_kinds_that_were_asked_for(database: Database) -> None:
    some, everything = Listener(), Listener()
    happen(database, 1)
    with database.begin() as connection:
        emit(connection, Ignored(number=2))
    happen(database, 3)
    outbox = Outbox(
        database,
        [
            Subscription(name="some", handler=some, kinds=["Happened"]),
            Subscription(name="everything", handler=everything),
        ],
    )
    assert outbox.deliver_pending() == 5
    assert some.numbers == [1, 3] and everything.numbers == [1, 2, 3]
    assert outbox.deliver_pending() == 0


def test_the_position_survives_a_restart(database: Database) -> None:
    for numbers in ([1, 2], [3]):
        happen(database, *numbers)
        listener = Listener()
        outbox = Outbox(database, [Subscription(name="a", handler=listener)])
        outbox.start()
        assert outbox.wait_delivered(PATIENCE_S)
        outbox.stop()
        assert listener.numbers == numbers


def test_a_subscription_without_history_begins_with_what_comes_next(database: Database) -> None:
    happen(database, 1)
    listener = Listener()
    outbox = Outbox(database, [Subscription(name="a", handler=listener, history=False)])
    happen(database, 2)
    outbox.deliver_pending()
    assert listener.numbers == [2]


def test_a_commit_in_this_process_is_delivered_at_once(database: Database) -> None:
    listener = Listener()
    with Outbox(database, [Subscription(name="a", handler=listener)], poll_interval_s=600):
        happen(database, 1)
        eventually(lambda: listener.numbers == [1])
        began = time.monotonic()
        happen(database, 2)
        eventually(lambda: listener.numbers == [1, 2])
        assert time.monotonic() - began < 5


def test_a_commit_of_another_process_is_found_by_polling(database: Database) -> None:
    listener = Listener()
    other = open_database(database.engine.url.render_as_string(hide_password=False).replace("+psycopg", ""))
    with Outbox(database, [Subscription(name="a", handler=listener)], poll_interval_s=0.02):
        happen(other, 1)
        eventually(lambda: listener.numbers == [1])
    other.close()


def test_what_was_rolled_back_is_never_delivered(database: Database) -> None:
    listener = Listener()
    outbox = Outbox(database, [Subscription(name="a", handler=listener)])
    with pytest.raises(RuntimeError), database.begin() as connection:
        emit(connection, Happened(number=1))
        raise RuntimeError
    happen(database, 2)
    outbox.deliver_pending()
    assert listener.numbers == [2]


def test_a_failed_event_is_retried_before_the_next_one_and_blocks_nobody_else(database: Database) -> None:
    clock = ManualClock()
    failing, fine = Listener(fails_on=2, times=2), Listener()
    outbox = Outbox(
        database,
        [
            Subscription(name="failing", handler=failing, first_retry_s=10),
            Subscription(name="fine", handler=fine),
        ],
        clock=clock,
    )
    happen(database, 1, 2, 3)
    outbox.deliver_pending()
    assert failing.numbers == [1] and fine.numbers == [1, 2, 3]
    outbox.deliver_pending()
    assert failing.calls == 2, "not before its time"
    status, _ = outbox.status()
    assert (status.attempts, status.waiting, status.error) == (1, 2, "ValueError: no 2 today")
    clock.advance(10)
    outbox.deliver_pending()
    clock.advance(10)
    outbox.deliver_pending()
    assert failing.calls == 3, "the second wait is longer"
    clock.advance(10)
    outbox.deliver_pending()
    assert failing.numbers == [1, 2, 3]
    status, _ = outbox.status()
    assert (status.attempts, status.waiting, status.error, status.dead_letters) == (0, 0, None, 0)


def test_an_event_that_always_fails_becomes_a_dead_letter_and_the_rest_goes_on(database: Database) -> None:
    listener = Listener(fails_on=1)
    subscription = Subscription(name="a", handler=listener, max_attempts=3, first_retry_s=0.01)
    with Outbox(database, [subscription]) as outbox:
        happen(database, 1, 2)
        assert outbox.wait_delivered(PATIENCE_S)
        (letter,) = outbox.dead_letters("a")
        (status,) = outbox.status()
    assert listener.numbers == [2] and listener.calls == 4
    assert (letter.event, letter.kind, letter.attempts, letter.error) == (
        status.position - 1,
        "Happened",
        3,
        "ValueError: no 1 today",
    )
    assert status.dead_letters == 1


def test_a_handler_that_gives_up_the_process_fails_like_any_other(database: Database) -> None:
    calls: list[int] = []

    def leave(event: Recorded) -> None:
        calls.append(event.body["number"])
        if len(calls) < 3:
            sys.exit("enough")

    with Outbox(database, [Subscription(name="a", handler=leave, first_retry_s=0.01)]) as outbox:
        happen(database, 1, 2)
        assert outbox.wait_delivered(PATIENCE_S)
    assert calls == [1, 1, 1, 2]


def test_failures_are_counted_over_restarts(database: Database) -> None:
    clock, listener = ManualClock(), Listener(fails_on=1)
    happen(database, 1, 2)
    for _ in range(3):
        Outbox(database, [Subscription(name="a", handler=listener, max_attempts=3)], clock=clock).deliver_pending()
        clock.advance(60)
    assert listener.numbers == [2]
    assert listener.calls == 4


def test_a_slow_handler_delays_nobody_else(database: Database) -> None:
    release, fine = threading.Event(), Listener()
    with Outbox(
        database,
        [
            Subscription(name="slow", handler=lambda event: release.wait(PATIENCE_S)),
            Subscription(name="fine", handler=fine),
        ],
    ) as outbox:
        happen(database, 1, 2, 3)
        eventually(lambda: fine.numbers == [1, 2, 3])
        assert outbox.status()[0].waiting == 3
        release.set()
        assert outbox.wait_delivered(PATIENCE_S)


def test_two_processes_with_one_subscription_deliver_each_event_once(database: Database) -> None:
    listener = Listener()
    subscription = Subscription(name="a", handler=listener)
    with Outbox(database, [subscription], poll_interval_s=0.02), Outbox(database, [subscription], poll_interval_s=0.02):
        happen(database, *range(30))
        eventually(lambda: len(listener.numbers) >= 30)
    assert listener.numbers == list(range(30))


def test_another_takes_over_when_the_first_stops_or_its_lease_is_over(database: Database) -> None:
    clock, listener = ManualClock(), Listener()
    subscription = Subscription(name="a", handler=listener)
    first = Outbox(database, [subscription], clock=clock, lease_s=30)
    second = Outbox(database, [subscription], clock=clock, lease_s=30)
    happen(database, 1)
    first.deliver_pending()
    happen(database, 2)
    assert second.deliver_pending() == 0
    clock.advance(31)
    assert second.deliver_pending() == 1
    happen(database, 3)
    assert first.deliver_pending() == 0, "it lost the delivery"
    assert listener.numbers == [1, 2]


def test_handlers_act_in_the_name_of_their_subscription(database: Database) -> None:
    seen: list[tuple[str, str]] = []
    happen(database, 1)
    Outbox(
        database,
        [Subscription(name="a", handler=lambda event: seen.append((current_actor().name, current_actor().origin)))],
    ).deliver_pending()
    assert seen == [("subscriber a", "event 1")]


def test_two_subscriptions_of_one_name_are_refused(database: Database) -> None:
    with pytest.raises(Conflict, match="same name"):
        Outbox(database, [Subscription(name="a", handler=print), Subscription(name="a", handler=print)])


def test_an_event_that_commits_late_is_not_passed_over(database: Database) -> None:
    """While one transaction holds an event that is not committed, no later number may become visible."""
    listener = Listener()
    emitted, go_on = threading.Event(), threading.Event()

    def slowly() -> None:
        with database.begin() as connection:
            emit(connection, Happened(number=1))
            emitted.set()
            go_on.wait(PATIENCE_S)

    with Outbox(database, [Subscription(name="a", handler=listener)], poll_interval_s=0.01):
        slow = threading.Thread(target=slowly)
        slow.start()
        assert emitted.wait(PATIENCE_S)
        fast = threading.Thread(target=happen, args=(database, 2))
        fast.start()
        fast.join(0.2)
        assert fast.is_alive() and listener.numbers == []
        go_on.set()
        slow.join()
        fast.join()
        eventually(lambda: len(listener.numbers) == 2)
    assert listener.numbers == [1, 2]


_DELIVER_FOR_EVER = """
import sys, threading
from mainspring.runtime.outbox import Outbox, Subscription
from mainspring.storage.sql.database import open_database
out = open(sys.argv[2], "a", buffering=1)
subscription = Subscription(name="a", handler=lambda e: out.write(f"{e.body['number']}\\n"))
outbox = Outbox(open_database(sys.argv[1]), [subscription])
outbox.start()
print(flush=True)
threading.Event().wait()
"""


def test_kill_9_of_the_deliverer_skips_nothing_and_repeats_at_most_the_event_in_flight(
    database: Database, tmp_path: Path
) -> None:
    url = database.engine.url.render_as_string(hide_password=False).replace("+psycopg", "")
    heard = tmp_path / "heard"
    heard.touch()

    def lines() -> list[int]:
        return [int(line) for line in heard.read_text().split()]

    kills, sent = 4, 0
    for _ in range(kills):
        command = [sys.executable, "-c", _DELIVER_FOR_EVER, url, str(heard)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            happen(database, *range(sent, sent + 20))
            sent += 20
            eventually(lambda target=sent - 10: len(lines()) > target)  # type: ignore[misc]
            process.kill()
    listener = Listener()
    with Outbox(database, [Subscription(name="a", handler=listener)]) as outbox:
        assert outbox.wait_delivered(PATIENCE_S)
    everything = lines() + listener.numbers
    assert sorted(set(everything)) == list(range(sent))
    assert len(everything) - sent <= kills
    assert everything == sorted(everything)
