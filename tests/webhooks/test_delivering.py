"""Each event reaches each webhook that asked for it, once where all is well, and again until it is heard."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from mainspring.core.actor import acting_as
from mainspring.core.clock import ManualClock
from mainspring.core.errors import InvalidRequest
from mainspring.core.events import Event
from mainspring.runtime.presence import Process, this_process
from mainspring.storage.sql.database import Database
from mainspring.webhooks import delivering, store
from mainspring.webhooks.delivering import MAX_ATTEMPTS, Deliveries
from mainspring.webhooks.sending import Sender
from mainspring.webhooks.service import Webhooks
from tests.holds.running import eventually
from tests.webhooks.conftest import BellRung, DoorOpened
from tests.webhooks.receiver import Answer, Receiver, Request

Happen = Callable[[Event], int]


def bells(receiver: Receiver) -> list[str]:
    return [request.json["body"]["bell"] for request in receiver.requests]


def test_an_event_is_told_in_the_journal_s_words(
    service: Webhooks, deliveries: Deliveries, receiver: Receiver, happen: Happen
) -> None:
    made = service.create("bells", receiver.url, ["BellRung"])
    with acting_as("ann", "here"):
        number = happen(BellRung(bell="north"))
        happen(DoorOpened(door="front"))
    assert deliveries.deliver_pending() == 1
    [request] = receiver.requests
    told = request.json
    assert told.pop("at").startswith("20")
    assert told == {
        "id": number, "kind": "BellRung", "actor": "ann", "origin": "here", "body": {"bell": "north"},
        "reads": [], "makes": ["bell:north"],
    }  # fmt: skip
    [delivery] = service.deliveries(made.id)
    assert request.headers["webhook-id"] == delivery.id
    assert (delivery.state, delivery.attempts, delivery.response, delivery.event) == ("delivered", 1, 200, number)
    assert (delivery.due, delivery.error) == (None, None)


def test_nothing_of_before_is_told_and_nothing_twice(
    service: Webhooks, deliveries: Deliveries, receiver: Receiver, happen: Happen
) -> None:
    happen(BellRung(bell="before"))
    made = service.create("bells", receiver.url, ["BellRung"])
    happen(BellRung(bell="first"))
    happen(DoorOpened(door="front"))
    deliveries.deliver_pending()
    service.update(made.id, events=["BellRung", "DoorOpened"])
    assert deliveries.deliver_pending() == 0
    happen(DoorOpened(door="back"))
    deliveries.deliver_pending()
    assert [request.json["body"] for request in receiver.requests] == [{"bell": "first"}, {"door": "back"}]


def test_one_that_wants_everything_is_told_everything(
    service: Webhooks, deliveries: Deliveries, receiver: Receiver, happen: Happen
) -> None:
    service.create("all", receiver.url, ["*"])
    happen(BellRung(bell="north"))
    happen(DoorOpened(door="front"))
    deliveries.deliver_pending()
    assert [request.json["kind"] for request in receiver.requests] == ["WebhookCreated", "BellRung", "DoorOpened"]


def test_what_was_disabled_is_told_nothing_of_meanwhile_nor_of_what_waited(
    service: Webhooks, deliveries: Deliveries, receiver: Receiver, happen: Happen, clock: ManualClock
) -> None:
    made = service.create("bells", receiver.url, ["BellRung"])
    receiver.answers = [(500, {}, b"")]
    happen(BellRung(bell="waits"))
    deliveries.deliver_pending()
    service.update(made.id, status="disabled")
    happen(BellRung(bell="meanwhile"))
    clock.advance(60)
    assert deliveries.deliver_pending() == 0
    [waited] = service.deliveries(made.id)
    assert (waited.state, waited.error) == ("failed", "the webhook was disabled")
    with pytest.raises(InvalidRequest, match="disabled"):
        service.redeliver(made.id, waited.id)
    service.update(made.id, status="active")
    happen(BellRung(bell="after"))
    deliveries.deliver_pending()
    service.redeliver(made.id, waited.id)
    deliveries.deliver_pending()
    assert bells(receiver) == ["waits", "after", "waits"]


def test_a_receiver_in_trouble_is_asked_again_ever_later_and_at_last_no_more(
    service: Webhooks, deliveries: Deliveries, receiver: Receiver, happen: Happen, clock: ManualClock
) -> None:
    made = service.create("bells", receiver.url, ["BellRung"])
    receiver.check = lambda request: (503, {}, b"later")
    happen(BellRung(bell="north"))
    pauses = []
    for attempt in range(1, MAX_ATTEMPTS):
        assert deliveries.deliver_pending() == 1
        [waits] = service.deliveries(made.id, "pending")
        assert (waits.attempts, waits.response) == (attempt, 503)
        assert waits.due is not None
        pauses.append((waits.due - clock.now()).total_seconds())
        clock.advance(pauses[-1] - 0.01)
        assert deliveries.deliver_pending() == 0
        clock.advance(0.01)
    assert [round(pause) for pause in pauses[:2]] == [1, 2]
    assert all(second > first for first, second in pairwise(pauses[:8]))
    assert max(pauses) <= 600
    assert deliveries.deliver_pending() == 1
    [given_up] = service.deliveries(made.id, "failed")
    assert (given_up.attempts, given_up.ended) == (MAX_ATTEMPTS, clock.now())
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1


def test_what_a_receiver_will_never_take_is_given_up_at_once(
    service: Webhooks, deliveries: Deliveries, receiver: Receiver, happen: Happen
) -> None:
    made = service.create("bells", receiver.url, ["BellRung"])
    receiver.answers = [(410, {}, b"")]
    happen(BellRung(bell="north"))
    assert deliveries.deliver_pending() == 1
    [given_up] = service.deliveries(made.id)
    assert (given_up.state, given_up.attempts, given_up.response) == ("failed", 1, 410)
    service.redeliver(made.id, given_up.id)
    assert deliveries.deliver_pending() == 1
    assert service.deliveries(made.id)[0].state == "delivered"
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1


def test_a_receiver_is_left_alone_as_long_as_it_asks(
    service: Webhooks, deliveries: Deliveries, receiver: Receiver, happen: Happen, clock: ManualClock
) -> None:
    service.create("bells", receiver.url, ["BellRung"])
    receiver.answers = [(429, {"Retry-After": "90"}, b"")]
    happen(BellRung(bell="north"))
    deliveries.deliver_pending()
    clock.advance(89)
    assert deliveries.deliver_pending() == 0
    clock.advance(1)
    assert deliveries.deliver_pending() == 1


def test_a_webhook_that_was_deleted_is_told_nothing_more(
    service: Webhooks, deliveries: Deliveries, receiver: Receiver, happen: Happen, clock: ManualClock
) -> None:
    made = service.create("bells", receiver.url, ["BellRung"])
    receiver.answers = [(500, {}, b"")]
    happen(BellRung(bell="north"))
    deliveries.deliver_pending()
    service.delete(made.id)
    clock.advance(60)
    assert deliveries.deliver_pending() == 0


def test_what_happened_is_taken_up_once_by_several_who_try(
    service: Webhooks, receiver: Receiver, happen: Happen
) -> None:
    made = service.create("bells", receiver.url, ["BellRung", "*"])
    for number in range(50):
        happen(BellRung(bell=str(number)))
    takers = [Deliveries(service) for _ in range(4)]
    threads = [threading.Thread(target=taker.take_up) for taker in takers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = service.deliveries(made.id, limit=1000)
    # As what it is, and as anything; that the webhook was created is something, too.
    assert len(found) == 101
    assert len({(delivery.event, delivery.name) for delivery in found}) == 101


def test_more_than_can_wait_is_written_down_as_lost(
    service: Webhooks, deliveries: Deliveries, receiver: Receiver, happen: Happen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivering, "MAX_PENDING", 3)
    made = service.create("bells", receiver.url, ["BellRung"])
    for number in range(5):
        happen(BellRung(bell=str(number)))
    deliveries.take_up()
    assert len(service.deliveries(made.id, "pending")) == 3
    lost = service.deliveries(made.id, "failed")
    assert [delivery.error for delivery in lost] == ["not tried: 3 other deliveries waited for this webhook"] * 2
    deliveries.deliver_pending()
    assert bells(receiver) == ["0", "1", "2"]


def test_only_the_newest_that_ended_are_kept(
    service: Webhooks, deliveries: Deliveries, receiver: Receiver, happen: Happen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivering, "KEPT", 2)
    made = service.create("bells", receiver.url, ["BellRung"])
    for number in range(5):
        happen(BellRung(bell=str(number)))
        deliveries.deliver_pending()
    kept = service.deliveries(made.id)
    assert len(kept) == 3
    assert kept[0].event > kept[1].event > kept[2].event


# Threads and processes ------------------------------------------------------------------------------------------------


@pytest.fixture
def ticking(service: Webhooks) -> Webhooks:
    """The webhooks on the clock of the machine, as threads have them."""
    service._clock = delivering.SystemClock()
    return service


def test_events_are_told_as_they_happen(ticking: Webhooks, receiver: Receiver, happen: Happen) -> None:
    made = ticking.create("bells", receiver.url, ["BellRung"])
    deliveries = Deliveries(ticking, look_every_s=0.05)
    deliveries.start()
    try:
        for number in range(20):
            happen(BellRung(bell=str(number)))
        receiver.wait(20)
        assert bells(receiver) == [str(number) for number in range(20)]
        eventually(lambda: len(ticking.deliveries(made.id, "delivered")) == 20, "not all were settled")
    finally:
        deliveries.stop()


def test_one_that_hangs_delays_no_other(ticking: Webhooks, receiver: Receiver, happen: Happen) -> None:
    ticking.sender = Sender(private_targets=True, timeout_s=60)
    go_on = threading.Event()

    def slow(request: Request) -> Answer:
        if request.path == "/slow":
            go_on.wait(30)
        return 200, {}, b""

    receiver.check = slow
    for number in range(3):
        ticking.create(f"slow-{number}", receiver.url + "/slow", ["BellRung"])
    ticking.create("quick", receiver.url + "/quick", ["BellRung"])
    deliveries = Deliveries(ticking, look_every_s=0.05)
    deliveries.start()
    try:
        for number in range(10):
            happen(BellRung(bell=str(number)))
        eventually(lambda: [r.path for r in receiver.requests].count("/quick") == 10, "the quick one waits")
        # And each slow one is told one thing at a time.
        assert [request.path for request in receiver.requests].count("/slow") == 3
    finally:
        go_on.set()
        deliveries.stop()


def test_an_attempt_that_a_process_died_in_is_made_again_by_the_next(
    ticking: Webhooks, receiver: Receiver, happen: Happen, database: Database
) -> None:
    made = ticking.create("bells", receiver.url, ["BellRung"])
    happen(BellRung(bell="north"))
    first = Deliveries(ticking)
    first.take_up()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        gone = _process_of(child.pid)
        child.kill()
    [waiting] = ticking.deliveries(made.id)
    with database.begin() as connection:
        assert store.claim(connection, waiting, delivering.SystemClock().now().replace(year=2999), gone)
    assert first.deliver_pending() == 0
    second = Deliveries(ticking)
    second.start()
    try:
        receiver.wait(1)
        eventually(lambda: ticking.deliveries(made.id)[0].state == "delivered", "it was not settled")
        assert ticking.deliveries(made.id)[0].attempts == 2
    finally:
        second.stop()


def test_an_attempt_of_a_process_that_lives_is_left_to_it(
    ticking: Webhooks, receiver: Receiver, happen: Happen, database: Database
) -> None:
    made = ticking.create("bells", receiver.url, ["BellRung"])
    happen(BellRung(bell="north"))
    Deliveries(ticking).take_up()
    [waiting] = ticking.deliveries(made.id)
    later = delivering.SystemClock().now().replace(year=2999)
    with database.begin() as connection:
        assert store.claim(connection, waiting, later, this_process())
        assert not store.claim(connection, waiting, later, this_process())
    other = Deliveries(ticking)
    other.start()
    time.sleep(0.3)
    other.stop()
    assert receiver.requests == []


def test_what_is_found_out_too_late_changes_nothing(ticking: Webhooks, receiver: Receiver, happen: Happen) -> None:
    made = ticking.create("bells", receiver.url, ["BellRung"])
    deliveries = Deliveries(ticking)

    def disabled_meanwhile(request: Request) -> Answer:
        ticking.update(made.id, status="disabled")
        return 500, {}, b""

    receiver.check = disabled_meanwhile
    happen(BellRung(bell="north"))
    assert deliveries.deliver_pending() == 1
    [delivery] = ticking.deliveries(made.id)
    assert (delivery.state, delivery.error) == ("failed", "the webhook was disabled")


def _process_of(pid: int) -> Process:
    from mainspring.runtime.presence import started_at

    here = this_process()
    return msgspec.structs.replace(here, pid=pid, started=started_at(pid) or "")


def test_a_name_that_nobody_knows_any_more_stops_nobody_else(
    service: Webhooks, deliveries: Deliveries, receiver: Receiver, happen: Happen, database: Database
) -> None:
    made = service.create("bells", receiver.url, ["BellRung"])
    old = service.create("old", receiver.url, ["BellRung"])
    values: dict[str, Any] = {"events": ["BellCast"], "since": {}}
    with database.begin() as connection:
        store.change(connection, old.id, values)
    happen(BellRung(bell="north"))
    deliveries.deliver_pending()
    assert [delivery.state for delivery in service.deliveries(made.id)] == ["delivered"]
    assert service.deliveries(old.id) == []
