"""The server: listens, refuses beyond its limits, watches deadlines with one timer, and drains."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import cast

from mainspring.core.errors import Unavailable
from mainspring.runtime.http.answers import CLOSE, JSON, RETRY, error_body
from mainspring.runtime.http.connection import Connection
from mainspring.runtime.http.limits import Limits
from mainspring.runtime.http.request import Request
from mainspring.runtime.http.state import ServerState

_LONGEST_SWEEP_S = 1.0
_MAX_TURNED = 256
_BUSY = error_body("too many connections are open; try again later")


class Server:
    """A listening server; made by `serve`, ended by `drain`. All methods belong to the loop's thread."""

    def __init__(self, state: ServerState, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        self._state = state
        self._listener = listener
        self._tls = tls
        self._accepting: asyncio.AbstractServer | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._sweep_s = _sweep_interval(state.limits)
        self.host, self.port = listener.getsockname()[:2]

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        return len(self._state.connections)

    @property
    def counters(self) -> dict[str, int]:
        """Totals since the start: connections accepted, requests handed on, requests refused, time-outs."""
        state = self._state
        return {
            "accepted": state.accepted, "requests": state.requests,
            "refused": state.refused, "timed_out": state.timed_out,
        }  # fmt: skip

    async def start(self) -> None:
        """Begin to accept connections."""
        self._accepting = await self._state.loop.create_server(
            self._connect, sock=self._listener, backlog=4096, ssl=self._tls
        )
        self._sweep()

    async def drain(self, timeout_s: float = 30.0, *, idle_s: float = 0.25) -> int:
        """Stop accepting, answer what was received, close every connection; returns the requests left unanswered.

        Each answer from now on carries `Connection: close`. A connection with no request on its way stays open for
        *idle_s* more, for a request that its client may have sent already. After *timeout_s* the rest is cut off.
        """
        state = self._state
        state.draining = True
        deadline = state.loop.time() + timeout_s
        await self._stop_accepting()
        await self._until_vacant(min(idle_s, timeout_s))
        for connection in list(state.connections):
            connection.close_if_idle()
        await self._until_vacant(deadline - state.loop.time())
        left = sum(connection.unanswered() for connection in state.connections)
        for connection in list(state.connections):
            connection.abort()
        for turned in list(state.turned):
            turned.abort()
        await self._until_vacant(1.0)
        if self._sweeper is not None:
            self._sweeper.cancel()
        return left

    async def _stop_accepting(self) -> None:
        if self._accepting is None:
            return
        # Connections that the kernel has accepted already are reset when the listener closes: take them over first.
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                break
            client.setblocking(False)
            await self._state.loop.connect_accepted_socket(self._connect, client, ssl=self._tls)
        self._accepting.close()
        self._accepting = None

    async def _until_vacant(self, timeout_s: float) -> None:
        state = self._state
        if not state.connections or timeout_s <= 0:
            return
        vacant = asyncio.Event()
        state.vacant = vacant.set
        try:
            await asyncio.wait_for(vacant.wait(), timeout_s)
        except TimeoutError:
            pass
        finally:
            state.vacant = None

    def _connect(self) -> asyncio.Protocol:
        if len(self._state.connections) >= self._state.limits.max_connections:
            return TurnedAway(self._state)
        return Connection(self._state)

    def _sweep(self) -> None:
        state = self._state
        state.tick()
        for connection in list(state.connections):
            connection.sweep(state.now)
        for turned in list(state.turned):
            turned.sweep(state.now)
        self._sweeper = state.loop.call_later(self._sweep_s, self._sweep)


class TurnedAway(asyncio.Protocol):
    """A connection beyond the limit: it is told so, and nothing that it sends is parsed.

    It stays for `linger_s` at most, until the client has closed: closing at once would send a reset that can
    overtake the answer. Only so many may stay.
    """

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._since = state.now

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        state = self._state
        state.refused += 1
        if len(state.turned) >= _MAX_TURNED:
            self._transport.abort()
            return
        state.turned.add(self)
        head = state.head(503, JSON)
        self._transport.write(b"%b%d\r\n%b%b\r\n%b" % (head, len(_BUSY), RETRY, CLOSE, _BUSY))
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def connection_lost(self, _: Exception | None) -> None:
        self._state.turned.discard(self)

    def sweep(self, now: float) -> None:
        if now - self._since > self._state.limits.linger_s:
            self.abort()

    def abort(self) -> None:
        self._transport.abort()


async def serve(
    handler: Callable[[Request], None],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    limits: Limits | None = None,
    reuse_port: bool = False,
    tls: ssl.SSLContext | None = None,
    listener: socket.socket | None = None,
    streams: Callable[[bytes], bool] | None = None,
) -> Server:
    """Listen on *host* and *port* (0: a free one) and call *handler* with each whole request, on the loop's thread.

    The handler answers by `Request.respond`, at once or later, and must not block. With *reuse_port* several
    processes may listen on the same port and the kernel spreads connections. A *listener* that is bound already is
    taken instead. *streams* tells by the target which requests are handed over with their header, to be read while they
    arrive. Raises Unavailable if the port is taken.
    """
    loop = asyncio.get_running_loop()
    listener = listener or _listen(host, port, reuse_port)
    listener.setblocking(False)
    server = Server(ServerState(handler, limits or Limits(), loop, streams), listener, tls)
    await server.start()
    return server


def _listen(host: str, port: int, reuse_port: bool) -> socket.socket:
    family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, proto)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
    except OSError as taken:
        listener.close()
        raise Unavailable(
            f"cannot listen on {host}:{port}: {taken.strerror}; free the port or choose another"
        ) from taken
    return listener


def _sweep_interval(limits: Limits) -> float:
    shortest = min(
        limits.header_timeout_s, limits.body_timeout_s, limits.idle_timeout_s, limits.write_timeout_s, limits.linger_s
    )
    return max(0.01, min(_LONGEST_SWEEP_S, shortest / 4))
