"""A small HTTP client for replaying traffic: many requests over a few kept-alive connections, each timed.

A general client costs about a millisecond of CPU per request, more than the server that it would measure.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import urlsplit

import httptools
import msgspec

from mainspring.core.errors import Unavailable

_PATIENCE_S = 60.0
_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0


class Call(msgspec.Struct, frozen=True):
    """A request to send: a path, a JSON body, and ready header lines."""

    path: str
    body: bytes
    headers: str = ""


class Reply(msgspec.Struct, frozen=True):
    """An answer: status (0 when the connection failed for good), body, seconds, and how often it was sent again."""

    status: int
    body: bytes
    seconds: float
    retries: int = 0


class _Connection(asyncio.Protocol):
    """One kept-alive connection with one request under way."""

    def __init__(self) -> None:
        self.open = False
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[tuple[int, bytes]] | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._parts: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self.open = transport, True

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self._waiter and not self._waiter.done():
            self._waiter.set_exception(ConnectionResetError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        assert self._parser is not None
        self._parser.feed_data(data)

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)

    def on_message_complete(self) -> None:
        assert self._parser is not None and self._waiter is not None and self._transport is not None
        if not self._parser.should_keep_alive():
            self.open = False
            self._transport.close()
        if not self._waiter.done():
            self._waiter.set_result((self._parser.get_status_code(), b"".join(self._parts)))

    async def exchange(self, request: bytes) -> tuple[int, bytes]:
        assert self._transport is not None
        self._waiter = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._parts = []
        self._transport.write(request)
        return await self._waiter

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def send_all(
    url: str, calls: Iterable[Call], *, connections: int = 8, revive: Callable[[], None] = lambda: None
) -> list[Reply]:
    """Send POST requests over *connections* connections; the answers come in the order of the calls.

    A request that was refused as overloaded (429, 503), or whose connection broke, is sent again for a minute, as any
    good client would; predictions have no effect that a second sending could double. *revive* is called after a
    connection broke, to start again what may have ended. Raises Unavailable when nothing listens at *url*.
    """
    listed = list(calls)
    replies: list[Reply | None] = [None] * len(listed)
    asyncio.run(_drive(url, listed, replies, max(1, min(connections, len(listed))), revive))
    return [reply if reply is not None else Reply(0, b"", 0.0) for reply in replies]


async def _drive(
    url: str, calls: list[Call], replies: list[Reply | None], connections: int, revive: Callable[[], None]
) -> None:
    queue = iter(range(len(calls)))
    await asyncio.gather(*(_work(url, calls, queue, replies, revive) for _ in range(connections)))


async def _work(
    url: str, calls: list[Call], queue: Iterator[int], replies: list[Reply | None], revive: Callable[[], None]
) -> None:
    place = urlsplit(url)
    connection: _Connection | None = None
    for number in queue:
        call, started = calls[number], time.perf_counter()
        head = f"POST {call.path} HTTP/1.1\r\nhost: {place.netloc}\r\ncontent-type: application/json\r\n{call.headers}"
        request = f"{head}content-length: {len(call.body)}\r\n\r\n".encode() + call.body
        status, body, retries = 0, b"", 0
        while True:
            try:
                if connection is None or not connection.open:
                    connection = await _connect(place.hostname or "127.0.0.1", place.port or 80)
                status, body = await connection.exchange(request)
            except OSError:
                connection, status = None, 0
                revive()
            if status not in (0, 429, 503) or time.perf_counter() - started > _PATIENCE_S:
                break
            retries += 1
            await asyncio.sleep(min(_LONGEST_PAUSE_S, _PAUSE_S * retries))
        if status == 0 and not any(replies):
            raise Unavailable(f"nothing answers at {url}; see `mainspring status`")
        replies[number] = Reply(status, body, time.perf_counter() - started, retries)
    if connection is not None:
        connection.close()


async def _connect(host: str, port: int) -> _Connection:
    _, connection = await asyncio.get_running_loop().create_connection(_Connection, host, port)
    return connection
