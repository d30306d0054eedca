"""What the connections of one server share: the handler, the limits, the coarse clock and the counters."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from mainspring.runtime.http.answers import answer_head, date_line
from mainspring.runtime.http.limits import Limits
from mainspring.runtime.http.request import Request

_MAX_HEADS = 64


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


class Turned(Protocol):
    """A connection beyond the limit that still has to read why."""

    def sweep(self, now: float) -> None:
        """Cut it if it has had its time; *now* is monotonic seconds."""

    def abort(self) -> None:
        """Cut it at once."""


class ServerState:
    """Mutable and shared by the connections of one server; touched only on the loop's thread."""

    __slots__ = (
        "accepted", "buffered_bytes", "connections", "date", "draining", "handler", "heads", "limits", "loop", "now",
        "refused", "requests", "streams", "timed_out", "turned", "vacant",
    )  # fmt: skip

    def __init__(
        self,
        handler: Callable[[Request], None],
        limits: Limits,
        loop: asyncio.AbstractEventLoop,
        streams: Callable[[bytes], bool] | None = None,
    ) -> None:
        self.handler = handler
        self.streams = streams
        self.limits = limits
        self.loop = loop
        self.now = time.monotonic()
        self.date = date_line()
        self.heads: dict[tuple[int, bytes], bytes] = {}
        self.draining = False
        self.connections: set[Open] = set()
        self.turned: set[Turned] = set()
        self.vacant: Callable[[], None] | None = None
        self.buffered_bytes = 0
        self.accepted = 0
        self.requests = 0
        self.refused = 0
        self.timed_out = 0

    def tick(self) -> None:
        """Move the coarse clock, and the `Date` of answers with it."""
        self.now = time.monotonic()
        self.date = date_line()
        self.heads.clear()

    def head(self, status: int, content_type: bytes) -> bytes:
        """`answers.answer_head` with the date of this second; kept until the next tick."""
        head = answer_head(status, content_type, self.date)
        if len(self.heads) < _MAX_HEADS:
            self.heads[status, content_type] = head
        return head
