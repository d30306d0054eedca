"""The scheduler fires durable timers: each due time by one of all schedulers, and after a pause only once.

A firing is repeated when its process died before it was written down, so what a handler starts should be keyed by
``firing.token``, which is the same each time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any

import msgspec

from mainspring.core.actor import acting_as
from mainspring.core.clock import Clock, SystemClock
from mainspring.core.errors import NotFound
from mainspring.runtime import timers as store
from mainspring.runtime.presence import is_gone, this_process
from mainspring.runtime.timers import At, Cron, Every, Schedule, Timer
from mainspring.storage.sql.database import Database

__all__ = ["At", "Cron", "Every", "Firing", "Schedule", "Scheduler", "Timer"]

log = logging.getLogger("mainspring.scheduler")

_MAX_ERROR_CHARS = 1000
_AFTER_TROUBLE_S = 1.0


class Firing(msgspec.Struct, frozen=True, kw_only=True):
    """A timer that fires: ``due`` is when it should have, ``payload`` what it was set with."""

    timer: str
    kind: str
    due: datetime
    payload: Any

    @property
    def token(self) -> str:
        """Give the idempotency key of this firing."""
        return f"timer:{self.timer}@{self.due.isoformat()}"


class Scheduler:
    """Sets timers, and fires those whose kind has a handler here. Any number may run on one database.

    A handler that fails is called again after ``first_retry_s``, then twice as long each time; after ``max_attempts``
    that due time is given up, with the error in the timer, and the next one comes. Firings run in threads of their
    own, so a slow handler delays nobody; the same timer never fires twice at a time.
    """

    def __init__(
        self,
        database: Database,
        handlers: Mapping[str, Callable[[Firing], object]],
        *,
        poll_interval_s: float = 0.25,
        lease_s: float = 30.0,
        max_attempts: int = 5,
        first_retry_s: float = 1.0,
        threads: int = 4,
        clock: Clock | None = None,
    ) -> None:
        self._database, self._handlers = database, dict(handlers)
        self._poll_interval_s, self._lease_s = poll_interval_s, lease_s
        self._max_attempts, self._first_retry_s, self._threads = max_attempts, first_retry_s, threads
        self._clock = clock or SystemClock()
        self._process = this_process()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._running: dict[str, Timer] = {}
        self._thread: threading.Thread | None = None

    def set(self, name: str, *, kind: str, schedule: Schedule, payload: Any = None) -> Timer:
        """Set a timer, or change the one of that name; with the same schedule again it goes on as it stands.

        Raises InvalidRequest for a schedule that cannot be.
        """
        with self._database.begin() as connection:
            return store.set_timer(
                connection, name, kind=kind, schedule=schedule, payload=payload, now=self._clock.now()
            )

    def cancel(self, name: str) -> None:
        """Delete a timer. Raises NotFound when there is none; a firing that runs now is not interrupted."""
        with self._database.begin() as connection:
            if not store.cancel_timer(connection, name):
                raise NotFound(f"there is no timer {name}", name=name)

    def timers(self) -> list[Timer]:
        """List all timers by name."""
        with self._database.read() as connection:
            return store.list_timers(connection)

    def start(self) -> None:
        """Begin to fire."""
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop after the handlers that run now."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def fire_due(self) -> int:
        """Fire in this thread what is due now; gives how many handlers ran. For use without `start`."""
        claimed = self._claim_due()
        for timer in claimed:
            self._fire(timer)
        return len(claimed)

    def __enter__(self) -> Scheduler:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        with ThreadPoolExecutor(self._threads, thread_name_prefix="scheduler") as pool:
            renewed = self._clock.monotonic()
            while not self._stopping.is_set():
                wait_s = self._poll_interval_s
                try:
                    for timer in self._claim_due(self._threads - len(self._running)):
                        pool.submit(self._fire_safely, timer)
                    if self._clock.monotonic() - renewed > self._lease_s / 3:
                        renewed = self._clock.monotonic()
                        self._renew()
                except Exception:
                    log.exception("the scheduler cannot read its timers; it tries again")
                    wait_s = max(wait_s, _AFTER_TROUBLE_S)
                self._stopping.wait(wait_s)

    def _claim_due(self, limit: int = 100) -> list[Timer]:
        now = self._clock.now()
        with self._database.read() as connection:
            due = store.due_timers(connection, list(self._handlers), now)
        free = [timer for timer in due if self._is_free(timer, now)][: max(limit, 0)]
        if not free:
            return []
        until = now + timedelta(seconds=self._lease_s)
        with self._database.begin() as connection:
            claims = [store.claim(connection, timer, process=self._process, until=until) for timer in free]
        claimed = [timer for timer in claims if timer is not None]
        with self._lock:
            self._running.update({timer.name: timer for timer in claimed})
        return claimed

    def _is_free(self, timer: Timer, now: datetime) -> bool:
        if timer.lease_until is None or timer.lease_until <= now:
            return True
        return timer.owner_process is not None and is_gone(timer.owner_process)

    def _renew(self) -> None:
        with self._lock:
            running = list(self._running.values())
        if running:
            until = self._clock.now() + timedelta(seconds=self._lease_s)
            with self._database.begin() as connection:
                for timer in running:
                    store.renew(connection, timer, until)

    def _fire_safely(self, timer: Timer) -> None:
        try:
            self._fire(timer)
        except Exception:
            # Its lease runs out, and somebody fires it again.
            log.exception("how timer %s went could not be written down", timer.name)

    def _fire(self, timer: Timer) -> None:
        due = timer.next_at
        assert due is not None
        firing = Firing(timer=timer.name, kind=timer.kind, due=due, payload=timer.payload)
        failure: BaseException | None = None
        try:
            with acting_as("scheduler", f"timer {timer.name}"):
                self._handlers[timer.kind](firing)
        except (Exception, SystemExit) as error:
            # A handler that gives up its process would only end this thread, and hold the timer for ever.
            log.warning("timer %s failed", timer.name, exc_info=True)
            failure = error
        try:
            settled = self._settle(timer, due, failure)
        finally:
            with self._lock:
                self._running.pop(timer.name, None)
        if not settled:
            log.warning("timer %s was changed or taken over while it fired", timer.name)

    def _settle(self, timer: Timer, due: datetime, failure: BaseException | None) -> bool:
        now = self._clock.now()
        next_at = store.next_time(timer.schedule, due, now)
        with self._database.begin() as connection:
            if failure is None:
                return store.settle(connection, timer, next_at=next_at, last_at=due)
            attempts = timer.attempts + 1
            said = f"{type(failure).__name__}: {failure}"[:_MAX_ERROR_CHARS]
            if attempts >= self._max_attempts:
                return store.settle(connection, timer, next_at=next_at, last_at=timer.last_at, error=said)
            wait = timedelta(seconds=self._first_retry_s * 2.0 ** min(attempts - 1, 30))
            return store.settle(
                connection,
                timer,
                next_at=due,
                last_at=timer.last_at,
                attempts=attempts,
                retry_at=now + wait,
                error=said,
            )
