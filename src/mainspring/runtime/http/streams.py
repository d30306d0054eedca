"""The body of a request that is handed on while it arrives: bounded, because nothing is read while too much waits."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

HIGH_BYTES = 256 * 1024
"""So much may wait to be taken; beyond it nothing more is read from the client."""


class Taken(Protocol):
    """Who has to know that there is room again."""

    def body_taken(self) -> None:
        """The stream is not full any more."""


class BodyStream:
    """Parts of a body in the order in which they came; lives on the event loop's thread, and has one reader."""

    __slots__ = ("_came", "_channel", "_parts", "cut_off", "ended", "size")

    def __init__(self, channel: Taken) -> None:
        self._channel = channel
        self._parts: deque[bytes] = deque()
        self._came: asyncio.Future[None] | None = None
        self.size = 0
        self.ended = False
        """All of the body has come."""
        self.cut_off = False
        """The client has gone: what has not come never will."""

    @property
    def full(self) -> bool:
        """Whether nothing more should be read from the client now."""
        return self.size > HIGH_BYTES

    def feed(self, part: bytes) -> None:
        """Take in what came."""
        self._parts.append(part)
        self.size += len(part)
        self._wake()

    def end(self) -> None:
        """Take in that all has come."""
        self.ended = True
        self._wake()

    def cut(self) -> None:
        """Take in that the client has gone."""
        self.cut_off = True
        self._wake()

    async def read(self) -> bytes:
        """Give what has come since; empty at the end. Raises ConnectionResetError when the client went before."""
        while not self._parts:
            if self.ended:
                return b""
            if self.cut_off:
                raise ConnectionResetError("the client has gone before its request was whole")
            await self._next()
        was_full = self.full
        part = self._parts.popleft() if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self.size = 0
        if was_full:
            self._channel.body_taken()
        return part

    async def gone(self) -> None:
        """Return once the client has gone."""
        while not self.cut_off:
            await self._next()

    async def _next(self) -> None:
        self._came = asyncio.get_running_loop().create_future()
        await self._came

    def _wake(self) -> None:
        if self._came is not None and not self._came.done():
            self._came.set_result(None)
