"""A real server on its own loop and thread, and a client that speaks raw bytes to it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeVar

import uvloop

from mainspring.runtime.http.limits import Limits
from mainspring.runtime.http.request import Request
from mainspring.runtime.http.server import Server, serve

T = TypeVar("T")
WITHIN_S = 10.0


def eventually(check: Callable[[], bool], within_s: float = WITHIN_S) -> None:
    """Wait until *check* holds; fail after *within_s*."""
    deadline = time.monotonic() + within_s
    while not check():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.002)


class Running:
    """A server under test."""

    def __init__(self, handler: Callable[[Request], None], limits: Limits | None = None, **options: Any) -> None:
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        try:
            self.server: Server = self.run(serve(handler, limits=limits, **options))
        except BaseException:
            self._stop()
            raise
        self.port: int = self.server.port

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def on_loop(self, call: Callable[[], None]) -> None:
        async def once() -> None:
            call()

        self.run(once())

    def drain(self, timeout_s: float = 5.0, **options: float) -> int:
        return self.run(self.server.drain(timeout_s, **options))

    def close(self) -> None:
        self.drain(0.0)
        self._stop()

    def _stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """One connection; reads whole answers by their `content-length`."""

    def __init__(self, port: int, *, receive_buffer: int | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(WITHIN_S)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.rest = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> Client:
        self.socket.sendall(data)
        return self

    def head(self) -> bytes:
        while b"\r\n\r\n" not in self.rest:
            data = self.socket.recv(65536)
            assert data, f"closed after {self.rest!r}"
            self.rest += data
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        return head

    def reply(self, *, to_head: bool = False) -> Reply:
        line, *fields = self.head().decode("latin-1").split("\r\n")
        headers = dict(field.split(": ", 1) for field in fields)
        size = 0 if to_head else int(headers.get("content-length", "0"))
        while len(self.rest) < size:
            data = self.socket.recv(65536)
            assert data, f"closed after {len(self.rest)} of {size} bytes"
            self.rest += data
        body, self.rest = self.rest[:size], self.rest[size:]
        return Reply(int(line.split(" ")[1]), headers, body)

    def closed(self) -> bool:
        """Whether the server closes without sending anything more; waits for it."""
        try:
            return self.rest == b"" and self.socket.recv(65536) == b""
        except ConnectionResetError:
            return True


def get(path: bytes = b"/", more: bytes = b"") -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: here\r\n%b\r\n" % (path, more)


def post(body: bytes, path: bytes = b"/", more: bytes = b"") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: here\r\n%bContent-Length: %d\r\n\r\n%b" % (path, more, len(body), body)


def chunked(*chunks: bytes, trailers: bytes = b"") -> bytes:
    parts = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    head = b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + parts + b"0\r\n" + trailers + b"\r\n"


def echo(request: Request) -> None:
    """Answer with everything that was understood."""
    headers = b"x-method: %b\r\nx-path: %b\r\nx-query: %b\r\n" % (request.method, request.path, request.query)
    request.respond(200, request.body, b"application/octet-stream", headers)
