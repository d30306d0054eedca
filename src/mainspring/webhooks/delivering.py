"""Deliveries: the journal is read for what webhooks want to know, and each of them is told, again until it has heard.

A delivery is a row before it is sent, written in the transaction that moves the webhook's place in the journal, so
each event becomes exactly one; sent it is at least once, always under the same id. One webhook is told one thing at a
time, so one that is slow or down takes one thread at most and delays no other.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import datetime, timedelta

import msgspec

from mainspring.core.clock import Clock, SystemClock
from mainspring.core.errors import MainspringError
from mainspring.core.events import Recorded
from mainspring.core.ids import new_id
from mainspring.runtime.periodic import Periodic, each
from mainspring.runtime.presence import is_gone, this_process
from mainspring.storage.sql.journal import read_events
from mainspring.webhooks import store
from mainspring.webhooks.model import Attempt, Delivery
from mainspring.webhooks.service import Webhooks
from mainspring.webhooks.store import Subscriber

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 12
MAX_PENDING = 10_000
"""What may wait for one webhook; what comes while so much waits is written down as failed."""
KEPT = 1_000
"""How many deliveries of a webhook that ended are kept."""
_THREADS = 8
_IN_A_ROW = 32
_EVENTS = 200
_TICK_S = 0.2
_FIRST_RETRY_S, _MAX_RETRY_S = 1.0, 600.0
_GRACE_S = 30.0


class Deliveries:
    """Delivers to the webhooks of one platform; *turn* is held while the database is changed.

    Whoever knows of new events calls `wake`; the journal is looked at every *look_every_s* seconds in any case.
    """

    def __init__(
        self,
        webhooks: Webhooks,
        turn: AbstractContextManager[object] | None = None,
        clock: Clock | None = None,
        look_every_s: float = 15.0,
    ) -> None:
        self._webhooks, self._database = webhooks, webhooks.database
        self._turn = turn or contextlib.nullcontext()
        self._clock = clock or SystemClock()
        self._process = this_process()
        self._look_every_s = look_every_s
        self._periodic = Periodic("webhooks", self._look, _TICK_S)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="webhook")
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self._news, self._stirred = threading.Event(), threading.Event()
        self._looked = -look_every_s
        self._next_due: datetime | None = None

    def start(self) -> None:
        """Begin with what a process that ended had begun, and go on until `stop`."""
        with self._database.read() as connection:
            left = [id for id, process in store.attempts_under_way(connection) if is_gone(process)]
        if left:
            with self._database.begin() as connection:
                store.hand_back(connection, left, self._clock.now())
        self._periodic.start()

    def stop(self) -> None:
        """Begin nothing more, and wait for the requests that are under way."""
        self._periodic.stop()
        self._threads.shutdown(cancel_futures=True)

    def wake(self) -> None:
        """Look at the journal now."""
        self._news.set()
        self._periodic.wake()

    def deliver_pending(self) -> int:
        """Take up what happened and try in this thread whatever is due; gives the number of attempts."""
        while self.take_up():
            pass
        tried = 0
        while due := self._due():
            tried += sum(self._serve(webhook) for webhook in due)
        return tried

    def take_up(self) -> bool:
        """Make deliveries of what happened since; tells whether there may be more."""
        with self._database.read() as connection:
            subscribers = store.subscribers(connection)
            if not subscribers:
                return False
            low = min(subscriber.position for subscriber in subscribers)
            found = read_events(connection, after=low, kinds=self._kinds(subscribers), limit=_EVENTS)
        if not found:
            return False
        told = {subscriber.webhook.id: self._told(subscriber, found) for subscriber in subscribers}
        with self._turn, self._database.begin() as connection:
            # Those that were deleted or disabled meanwhile are not told.
            for subscriber in store.subscribers(connection):
                if fresh := told.get(subscriber.webhook.id):
                    self._add(connection, subscriber.webhook.id, fresh)
            store.come_to(connection, list(told), found[-1].id)
        return len(found) == _EVENTS

    def _kinds(self, subscribers: Sequence[Subscriber]) -> list[str] | None:
        wanted: set[str] = set()
        for subscriber in subscribers:
            for name in subscriber.webhook.events:
                kinds = self._webhooks.kinds(name)
                if kinds is None:
                    return None
                wanted |= set(kinds)
        return sorted(wanted)

    def _told(self, subscriber: Subscriber, found: Sequence[Recorded]) -> list[Delivery]:
        now = self._clock.now()
        return [
            Delivery(
                id=new_id(),
                webhook=subscriber.webhook.id,
                event=event.id,
                name=name,
                state="pending",
                attempts=0,
                created=now,
                due=now,
            )
            for event in found
            for name in subscriber.webhook.events
            if event.id > max(subscriber.position, subscriber.since.get(name, 0))
            if self._webhooks.body(event, name) is not None
        ]

    def _add(self, connection: store.Connection, webhook: str, fresh: list[Delivery]) -> None:
        room = max(0, MAX_PENDING - store.count_pending(connection, webhook))
        now, error = self._clock.now(), f"not tried: {MAX_PENDING} other deliveries waited for this webhook"
        lost = [msgspec.structs.replace(d, state="failed", due=None, ended=now, error=error) for d in fresh[room:]]
        store.add(connection, [*fresh[:room], *lost])
        store.forget_ended(connection, webhook, keep=KEPT)

    # The loop

    def _look(self) -> bool:
        now, more = time.monotonic(), False
        if self._news.is_set() or now - self._looked > self._look_every_s:
            self._news.clear()
            more = self.take_up()
            if more:
                self._news.set()
            self._looked = now
            self._stirred.set()
        if self._stirred.is_set() or (self._next_due is not None and self._next_due <= self._clock.now()):
            self._stirred.clear()
            self._hand_out()
        return more

    def _hand_out(self) -> None:
        for webhook in self._due():
            with self._lock:
                self._busy.add(webhook)
            self._threads.submit(each, "deliveries to webhook", [webhook], self._serve_and_leave)
        if len(self._busy) >= _THREADS:
            # Whoever is done first has it looked again.
            self._next_due = None
            return
        with self._database.read() as connection:
            self._next_due = store.next_due(connection)

    def _due(self) -> list[str]:
        with self._lock:
            busy = set(self._busy)
        with self._database.read() as connection:
            return store.webhooks_due(connection, self._clock.now(), without=busy, limit=_THREADS - len(busy))

    def _serve_and_leave(self, webhook: str) -> None:
        try:
            self._serve(webhook)
        finally:
            with self._lock:
                self._busy.discard(webhook)
            self._stirred.set()
            self._periodic.wake()

    def _serve(self, webhook: str) -> int:
        """Try what is due for one webhook; not for ever, as others wait for the thread."""
        for count in range(_IN_A_ROW):
            if not self._try_next(webhook):
                return count
        return _IN_A_ROW

    # One attempt

    def _try_next(self, webhook: str) -> bool:
        now = self._clock.now()
        with self._database.read() as connection:
            seen = store.first_due(connection, webhook, now)
        if seen is None:
            return False
        until = now + timedelta(seconds=self._webhooks.sender.timeout_s + _GRACE_S)
        with self._database.begin() as connection:
            claimed = store.claim(connection, seen, until, self._process)
            subscriber = store.find(connection, webhook)
        if not claimed or subscriber is None:
            return False
        begun = msgspec.structs.replace(seen, attempts=seen.attempts + 1)
        self._settle(begun, self._attempt(subscriber, begun))
        return True

    def _attempt(self, subscriber: Subscriber, delivery: Delivery) -> Attempt:
        with self._database.read() as connection:
            found = read_events(connection, after=delivery.event - 1, limit=1)
        body = self._webhooks.body(found[0], delivery.name) if found and found[0].id == delivery.event else None
        if body is None:
            return Attempt(
                delivered=False, error=f"event {delivery.event} cannot be told as {delivery.name!r} any more"
            )
        try:
            return self._webhooks.send(subscriber, delivery.id, delivery.name, body)
        except MainspringError as error:
            return Attempt(delivered=False, error=str(error), again=error.retryable)

    def _settle(self, delivery: Delivery, attempt: Attempt) -> None:
        now = self._clock.now()
        with self._turn, self._database.begin() as connection:
            if attempt.delivered:
                values = {"state": "delivered", "due": None, "ended": now, "error": None}
            elif attempt.again and delivery.attempts < MAX_ATTEMPTS:
                wait_s = _pause(delivery.attempts, attempt.again_after_s)
                values = {"due": now + timedelta(seconds=wait_s), "error": attempt.error}
            else:
                values = {"state": "failed", "due": None, "ended": now, "error": attempt.error}
            store.settle(connection, delivery, response=attempt.response, **values)
        if not attempt.delivered:
            facts = {"webhook": delivery.webhook, "delivery": delivery.id, "response": attempt.response}
            logger.info("attempt %d failed: %s", delivery.attempts, attempt.error or attempt.response, extra=facts)


def _pause(attempts: int, asked_s: float | None) -> float:
    pause_s = min(_FIRST_RETRY_S * 2.0 ** (attempts - 1), _MAX_RETRY_S) * random.uniform(0.8, 1.0)
    return max(pause_s, asked_s or 0.0)
