"""Work that is done again and again in a thread of its own, or to many things, and outlives its failures."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

from mainspring.core.errors import Conflict, MainspringError

T = TypeVar("T")
R = TypeVar("R")
logger = logging.getLogger(__name__)

_MAX_PAUSE_S = 30.0


def each(what: str, items: Iterable[T], work: Callable[[T], R]) -> tuple[list[R], list[tuple[T, str]]]:
    """Do *work* to each item, whatever goes wrong with the others; gives what came of it, and what went wrong in words.

    What goes wrong is logged after *what* and the item. A Conflict is not wrong: somebody else does the same just now.
    """
    done: list[R] = []
    wrong: list[tuple[T, str]] = []
    for item in items:
        try:
            done.append(work(item))
        except Conflict as conflict:
            logger.debug("%s %s: %s", what, item, conflict)
        except MainspringError as error:
            logger.warning("%s %s: %s", what, item, error)
            wrong.append((item, str(error)))
        except Exception as error:
            logger.exception("%s %s", what, item)
            wrong.append((item, f"{type(error).__name__}: {error}"))
    return done, wrong


class Periodic:
    """Calls *work* every *interval_s* seconds, and at once after `wake`.

    *work* tells whether there is more to do right now. When it raises, that is logged, and the pause doubles from
    *interval_s* up to half a minute until it succeeds again.
    """

    def __init__(self, name: str, work: Callable[[], bool], interval_s: float) -> None:
        self.name = name
        self._work = work
        self._interval_s = interval_s
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.failures = 0

    def start(self) -> None:
        """Begin; the first call is made at once."""
        self._thread.start()

    def wake(self) -> None:
        """Make the next call now."""
        self._woken.set()

    def stop(self, timeout_s: float = 10.0) -> bool:
        """Begin no further call and wait for the one that runs; tells whether it ended in time."""
        self._stopping.set()
        self._woken.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            if not self._once():
                self._woken.wait(max(self._interval_s, min(self._interval_s * 2**self.failures, _MAX_PAUSE_S)))

    def _once(self) -> bool:
        try:
            more = self._work()
        except (Exception, SystemExit):
            self.failures = min(self.failures + 1, 16)
            logger.exception("%s failed %d times in a row", self.name, self.failures)
            return False
        self.failures = 0
        return more
