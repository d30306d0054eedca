"""A receiver of webhooks: an HTTP server on loopback that keeps what it was sent and answers what the test says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

WITHIN_S = 15.0


class Request(msgspec.Struct, frozen=True):
    """One request as it came."""

    path: str
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


Answer = tuple[int, dict[str, str], bytes]


class Receiver:
    """Where it is reached, what came, and what it answers: ``answers`` in turn, then 200."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[Request] = []
        self.answers: list[Answer] = []
        self.check: Callable[[Request], Answer] | None = None

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        if self.check is not None:
            return self.check(request)
        return self.answers.pop(0) if self.answers else (200, {}, b"thanks")

    def wait(self, count: int) -> list[Request]:
        """Give the first *count* requests, when they have come."""
        deadline = time.monotonic() + WITHIN_S
        while len(self.requests) < count:
            assert time.monotonic() < deadline, f"{len(self.requests)} of {count} requests came"
            time.sleep(0.01)
        return self.requests[:count]


@contextmanager
def receiving(host: str = "127.0.0.1") -> Iterator[Receiver]:
    """Run a receiver until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, headers, answer = receiver.answer(Request(self.path, self.headers, body))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer((host, 0), Handler) as server:
        server.daemon_threads = True
        receiver = Receiver(f"http://{host}:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
