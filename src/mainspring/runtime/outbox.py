"""The outbox delivers events of the journal to subscribers in this process, in order, each at least once.

A handler may see an event again when its process died between the handler's return and the commit of the position, so
its effect should be keyed by ``event.id``. The journal numbers events in the order of their commits; without that, a
position would run past events whose transactions were still open.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from types import TracebackType

import msgspec
from sqlalchemy import Connection, event
from sqlalchemy.pool import ConnectionPoolEntry

from mainspring.core.actor import acting_as
from mainspring.core.clock import Clock, SystemClock
from mainspring.core.errors import Conflict
from mainspring.core.events import Recorded
from mainspring.core.ids import new_id
from mainspring.runtime import outbox_store as store
from mainspring.runtime.outbox_store import DeadLetter, Standing
from mainspring.runtime.presence import is_gone, this_process
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import read_events

log = logging.getLogger("mainspring.outbox")

_BATCH = 100
_MAX_ERROR_CHARS = 1000
_AFTER_TROUBLE_S = 1.0


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who wants to know: ``handler`` is called with each event of these ``kinds`` (None: all), in order.

    ``name`` carries the position over restarts. A failed attempt is repeated after ``first_retry_s`` and then twice as
    long each time (at most ``max_retry_s``); after ``max_attempts`` the event becomes a dead letter and the next one
    comes. ``history``: whether events from before the subscription was first known are delivered too.
    """

    name: str
    handler: Callable[[Recorded], object]
    kinds: Sequence[str] | None = None
    max_attempts: int = 8
    first_retry_s: float = 0.5
    max_retry_s: float = 60.0
    history: bool = True


class SubscriberStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How one subscriber stands; ``waiting`` events are not delivered yet, ``error`` is that of the last attempt."""

    name: str
    position: int
    waiting: int
    attempts: int
    retry_at: datetime | None
    error: str | None
    dead_letters: int


class _Lane:
    """What delivers to one subscriber."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.wake = threading.Event()
        self.thread: threading.Thread | None = None
        self.held = False


class Outbox:
    """Delivers to each subscription in a thread of its own, so that a slow or failing one delays nobody else.

    Several processes may run the same subscriptions on one database: one of them delivers, another takes over at once
    when that process is gone, and after ``lease_s`` when nothing can be told of it.
    """

    def __init__(
        self,
        database: Database,
        subscriptions: Sequence[Subscription],
        *,
        poll_interval_s: float = 0.25,
        lease_s: float = 30.0,
        clock: Clock | None = None,
        news: Callable[[], None] | None = None,
    ) -> None:
        """Make the subscriptions known; *news* is called whenever there are new events of whatever kind.

        Raises Conflict when two subscriptions have one name.
        """
        if len({subscription.name for subscription in subscriptions}) < len(subscriptions):
            raise Conflict("two subscriptions have the same name: each keeps a position of its own under its name")
        self._database = database
        self._poll_interval_s, self._lease_s = poll_interval_s, lease_s
        self._clock, self._news = clock or SystemClock(), news
        self._owner, self._process = new_id(), this_process()
        self._lanes = [_Lane(subscription) for subscription in subscriptions]
        self._stopping, self._wake = threading.Event(), threading.Event()
        self._pulse: threading.Thread | None = None
        with database.begin() as connection:
            newest = store.newest_event(connection)
            for subscription in subscriptions:
                store.enrol(connection, subscription.name, 0 if subscription.history else newest)

    def start(self) -> None:
        """Begin to deliver, at once after commits of this process and within ``poll_interval_s`` after others'."""
        event.listen(self._database.engine, "commit", self._mark)
        event.listen(self._database.engine, "checkin", self._notice)
        for lane in self._lanes:
            name = f"outbox-{lane.subscription.name}"
            lane.thread = threading.Thread(target=self._run, args=(lane,), name=name, daemon=True)
            lane.thread.start()
        self._pulse = threading.Thread(target=self._beat, name="outbox-pulse", daemon=True)
        self._pulse.start()

    def stop(self) -> None:
        """Stop after the handlers that run now; another process may deliver at once then."""
        if self._pulse is None:
            return
        self._stopping.set()
        self._wake.set()
        event.remove(self._database.engine, "commit", self._mark)
        event.remove(self._database.engine, "checkin", self._notice)
        for lane in self._lanes:
            lane.wake.set()
            if lane.thread is not None:
                lane.thread.join()
        self._pulse.join()
        self._pulse = None
        with self._database.begin() as connection:
            store.give_up(connection, self._owner)

    def deliver_pending(self) -> int:
        """Deliver in this thread whatever is due now; gives the number of deliveries. For use without `start`."""
        return sum(self._deliver_all(lane) for lane in self._lanes)

    def wait_delivered(self, timeout_s: float) -> bool:
        """Wait until every event that is stored now was delivered to everybody, or given up; False: not in time."""
        with self._database.read() as connection:
            target = store.newest_event(connection)
        deadline = time.monotonic() + timeout_s
        while not all(self._has_passed(lane, target) for lane in self._lanes):
            if time.monotonic() >= deadline:
                return False
            self._stopping.wait(0.02)
        return True

    def status(self) -> list[SubscriberStatus]:
        """Tell how each subscriber stands."""
        with self._database.read() as connection:
            return [self._status(connection, lane.subscription) for lane in self._lanes]

    def dead_letters(self, subscriber: str | None = None, *, limit: int = 100) -> list[DeadLetter]:
        """List the events that were given up, newest first."""
        with self._database.read() as connection:
            return store.list_dead_letters(connection, subscriber, limit=limit)

    def __enter__(self) -> Outbox:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _status(self, connection: Connection, subscription: Subscription) -> SubscriberStatus:
        stands = store.standing(connection, subscription.name)
        return SubscriberStatus(
            name=stands.name,
            position=stands.position,
            waiting=store.count_events(connection, after=stands.position, kinds=subscription.kinds),
            attempts=stands.attempts,
            retry_at=stands.retry_at,
            error=stands.error,
            dead_letters=store.count_dead_letters(connection, stands.name),
        )

    def _has_passed(self, lane: _Lane, target: int) -> bool:
        with self._database.read() as connection:
            position = store.standing(connection, lane.subscription.name).position
            waiting = read_events(connection, after=position, kinds=lane.subscription.kinds, limit=1)
        return position >= target or not waiting or waiting[0].id > target

    def _mark(self, connection: Connection) -> None:
        connection.info[self._owner] = True

    def _notice(self, connection: object, record: ConnectionPoolEntry) -> None:
        # A transaction that only read is rolled back, so what the outbox reads itself does not wake it again.
        if record.info.pop(self._owner, False):
            self._wake.set()

    def _beat(self) -> None:
        newest, renewed = 0, self._clock.monotonic()
        while not self._stopping.is_set():
            try:
                with self._database.read() as connection:
                    found = store.newest_event(connection)
                if found > newest:
                    newest = found
                    for lane in self._lanes:
                        lane.wake.set()
                    if self._news is not None:
                        self._news()
                if self._clock.monotonic() - renewed > self._lease_s / 3:
                    renewed = self._clock.monotonic()
                    self._renew()
            except Exception:
                log.exception("the outbox cannot read the journal; it tries again")
                self._stopping.wait(_AFTER_TROUBLE_S)
            self._wake.wait(self._poll_interval_s)
            self._wake.clear()

    def _renew(self) -> None:
        held = [lane.subscription.name for lane in self._lanes if lane.held]
        if held:
            with self._database.begin() as connection:
                store.renew(connection, held, owner=self._owner, until=self._until())

    def _run(self, lane: _Lane) -> None:
        while not self._stopping.is_set():
            lane.wake.clear()
            try:
                delivered, wait_s = self._deliver(lane)
            except Exception:
                log.exception("delivery to %s stumbled; it goes on", lane.subscription.name)
                delivered, wait_s = 0, _AFTER_TROUBLE_S
            if not delivered or wait_s:
                lane.wake.wait(wait_s)

    def _deliver_all(self, lane: _Lane) -> int:
        total = 0
        while True:
            delivered, wait_s = self._deliver(lane)
            total += delivered
            if not delivered or wait_s:
                return total

    def _deliver(self, lane: _Lane) -> tuple[int, float | None]:
        """Deliver one batch; gives how many, and the seconds until it is worth to look again (None: until woken)."""
        subscription = lane.subscription
        with self._database.read() as connection:
            stands = store.standing(connection, subscription.name)
            batch = read_events(connection, after=stands.position, kinds=subscription.kinds, limit=_BATCH)
        if not batch:
            return 0, None
        if stands.retry_at is not None and stands.retry_at > self._clock.now():
            return 0, (stands.retry_at - self._clock.now()).total_seconds()
        if not self._hold(lane, stands):
            return 0, self._poll_interval_s
        attempts = stands.attempts
        for count, recorded in enumerate(batch):
            if self._stopping.is_set():
                return count, None
            wait_s = self._offer(lane, recorded, attempts)
            if wait_s is not None:
                return count, wait_s
            attempts = 0
        return len(batch), None

    def _hold(self, lane: _Lane, stands: Standing) -> bool:
        lane.held = stands.owner == self._owner
        if lane.held:
            return True
        free = (
            stands.owner is None
            or (stands.lease_until is not None and stands.lease_until <= self._clock.now())
            or (stands.owner_process is not None and is_gone(stands.owner_process))
        )
        if free:
            with self._database.begin() as connection:
                lane.held = store.take(
                    connection, stands, owner=self._owner, process=self._process, until=self._until()
                )
        return lane.held

    def _offer(self, lane: _Lane, recorded: Recorded, attempts: int) -> float | None:
        """Call the handler; gives None when the next event may come, otherwise the seconds to wait."""
        subscription = lane.subscription
        try:
            with acting_as(f"subscriber {subscription.name}", f"event {recorded.id}"):
                subscription.handler(recorded)
        except (Exception, SystemExit) as error:
            # A handler that gives up its process would only end this thread, and keep the delivery from everybody.
            log.warning("%s failed on event %d", subscription.name, recorded.id, exc_info=True)
            return self._after_failure(lane, recorded, attempts + 1, error)
        return self._advance(lane, recorded, None)

    def _after_failure(self, lane: _Lane, recorded: Recorded, attempts: int, error: BaseException) -> float | None:
        subscription = lane.subscription
        said = f"{type(error).__name__}: {error}"[:_MAX_ERROR_CHARS]
        if attempts >= subscription.max_attempts:
            letter = DeadLetter(
                subscriber=subscription.name,
                event=recorded.id,
                kind=recorded.kind,
                attempts=attempts,
                error=said,
                at=self._clock.now(),
            )
            return self._advance(lane, recorded, letter)
        wait_s = min(subscription.first_retry_s * 2.0 ** min(attempts - 1, 60), subscription.max_retry_s)
        wait_s *= random.uniform(0.8, 1.0)
        retry_at = self._clock.now() + timedelta(seconds=wait_s)
        with self._database.begin() as connection:
            lane.held = store.note_failure(
                connection, subscription.name, owner=self._owner, attempts=attempts, retry_at=retry_at, error=said
            )
        return wait_s

    def _advance(self, lane: _Lane, recorded: Recorded, letter: DeadLetter | None) -> float | None:
        with self._database.begin() as connection:
            lane.held = store.advance(connection, lane.subscription.name, recorded.id, owner=self._owner)
            if letter is not None and lane.held:
                store.bury(connection, letter)
        return None if lane.held else self._poll_interval_s

    def _until(self) -> datetime:
        return self._clock.now() + timedelta(seconds=self._lease_s)
