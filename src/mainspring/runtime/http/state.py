"""What the connections of one server share: the handler, the limits, the coarse clock and the counters."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from mainspring.runtime.http.answers import date_line
from mainspring.runtime.http.limits import Limits
from mainspring.runtime.http.request import Request


class Open(Protocol):
    """A connection as the server sees it."""

    def sweep(self, now: float) -> None:
        """Close or cut the connection if one of its deadlines has passed; *now* is monotonic seconds."""

    def close_if_idle(self) -> None:
        """Close the connection unless a request is on its way or waits for its answer."""

    def abort(self) -> None:
        """Cut the connection at once; unsent bytes are lost."""

    def unanswered(self) -> int:
        """How many requests were received whole and have no answer yet."""


class ServerState:
    """Mutable and shared by the connections of one server; touched only on the loop's thread."""

    __slots__ = (
        "accepted", "buffered_bytes", "connections", "date", "draining", "handler", "limits", "loop", "now",
        "refused", "requests", "timed_out", "vacant",
    )  # fmt: skip

    def __init__(self, handler: Callable[[Request], None], limits: Limits, loop: asyncio.AbstractEventLoop) -> None:
        self.handler = handler
        self.limits = limits
        self.loop = loop
        self.now = time.monotonic()
        self.date = date_line()
        self.draining = False
        self.connections: set[Open] = set()
        self.vacant: Callable[[], None] | None = None
        self.buffered_bytes = 0
        self.accepted = 0
        self.requests = 0
        self.refused = 0
        self.timed_out = 0
