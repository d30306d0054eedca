"""One sync of a file for all who wait for it: the disk is asked once, however many have written meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable


class _Round:
    """Those whom one sync serves: how it ended, once it has."""

    __slots__ = ("ended", "failure")

    def __init__(self) -> None:
        self.ended = False
        self.failure: OSError | None = None


class GroupSync:
    """Calls *sync* for its callers, who may be many threads; one call serves all that came before it began."""

    def __init__(self, sync: Callable[[], None]) -> None:
        self._sync = sync
        self._changed = threading.Condition()
        self._coming = _Round()
        self._running = False

    def wait(self) -> None:
        """Return when a sync that began after this call has ended; raises OSError when it failed."""
        with self._changed:
            mine = self._coming
            while not mine.ended:
                if self._running:
                    self._changed.wait()
                else:
                    self._lead(mine)
        if mine.failure is not None:
            raise OSError(mine.failure.errno, mine.failure.strerror) from mine.failure

    def _lead(self, mine: _Round) -> None:
        # Who comes from now on may have written after the sync began: the next one is theirs.
        self._coming, self._running = _Round(), True
        self._changed.release()
        failure: OSError | None = OSError("the sync was broken off")
        try:
            self._sync()
            failure = None
        except OSError as error:
            failure = error
        finally:
            self._changed.acquire()
            mine.ended, mine.failure, self._running = True, failure, False
            self._changed.notify_all()
