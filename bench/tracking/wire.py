"""What MLflow's Python client puts on the wire, sent from a plain socket, so that its cost stays out of the numbers.

Recorded from its 3.17.2: the headers and their order, JSON as Python's ``json`` writes it, the head and the body in two
writes on one connection that stays open.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import urlencode

CLIENT = "3.17.2"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
WITHIN_S = 600.0


class Request(NamedTuple):
    """A whole request, made beforehand."""

    head: bytes
    body: bytes


def post(path: str, asked: dict[str, Any], *, base: str = "/api/2.0/mlflow/") -> Request:
    """Make a call with a JSON body: ``post("runs/create", {...})``."""
    body = json.dumps(asked).encode()
    more = f"Content-Length: {len(body)}\r\nContent-Type: application/json\r\n"
    return Request(_head("POST", base + path, more), body)


def get(path: str, asked: Sequence[tuple[str, object]], *, base: str = "/api/2.0/mlflow/") -> Request:
    """Make a call whose arguments stand in the query."""
    return Request(_head("GET", f"{base}{path}?{urlencode(asked)}"), b"")


def put(path: str, body: bytes) -> Request:
    """Store an artifact through the proxy."""
    more = f"Content-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\n"
    return Request(_head("PUT", f"{ARTIFACTS}/{path}", more), body)


def _head(method: str, target: str, more: str = "") -> bytes:
    return (
        f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: mlflow-python-client/{CLIENT}\r\n"
        f"Accept-Encoding: gzip, deflate, br\r\nAccept: */*\r\nConnection: keep-alive\r\n"
        f"X-MLflow-Client-Version: {CLIENT}\r\n{more}\r\n"
    ).encode()


class Connection:
    """One connection that stays open."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def ask(self, request: Request) -> bytes:
        """Send a request; gives the body of its answer. Stops the bench when it is not 200."""
        self._socket.sendall(request.head)
        if request.body:
            self._socket.sendall(request.body)
        return self._answer(request)

    def _answer(self, request: Request) -> bytes:
        found = b""
        while (end := found.find(b"\r\n\r\n")) < 0:
            found += self._more()
        head = found[:end].lower()
        at = head.find(b"content-length:")
        if at < 0:
            body = self._chunks(found[end + 4 :])
        else:
            parts = [found[end + 4 :]]
            missing = int(head[at + 15 :].split(b"\r\n", 1)[0]) - len(parts[0])
            while missing > 0:
                parts.append(self._more())
                missing -= len(parts[-1])
            body = b"".join(parts)
        if head[9:12] != b"200":
            raise SystemExit(
                f"{request.head.splitlines()[0].decode()} was answered with {head.decode()}\n{body[:500]!r}"
            )
        return body

    def _chunks(self, rest: bytes) -> bytes:
        body, found = bytearray(), bytearray(rest)
        while True:
            while (end := found.find(b"\r\n")) < 0:
                found += self._more()
            size = int(found[:end].split(b";")[0], 16)
            while len(found) < end + size + 4:
                found += self._more()
            if size == 0:
                return bytes(body)
            body += found[end + 2 : end + 2 + size]
            del found[: end + size + 4]

    def _more(self) -> bytes:
        part = self._socket.recv(1 << 20)
        if not part:
            raise SystemExit("the server closed the connection")
        return part

    def call(self, request: Request) -> Any:
        """Send a request; gives its answer as JSON."""
        return json.loads(self.ask(request))


def ask_all(port: int, requests: Sequence[Request]) -> float:
    """Send requests one after the other; gives the seconds that the last answer took to come."""
    with Connection(port) as connection:
        began = time.perf_counter()
        for request in requests:
            connection.ask(request)
        return time.perf_counter() - began


def ask_at_once(port: int, of_clients: Sequence[Sequence[Request]]) -> float:
    """Send the requests of several clients at the same time; gives the seconds until the last answer."""
    ready = threading.Barrier(len(of_clients) + 1)

    def work(requests: Sequence[Request]) -> None:
        with Connection(port) as connection:
            ready.wait()
            for request in requests:
                connection.ask(request)

    with ThreadPoolExecutor(len(of_clients)) as threads:
        clients = [threads.submit(work, requests) for requests in of_clients]
        ready.wait()
        began = time.perf_counter()
        for client in clients:
            client.result()
    return time.perf_counter() - began
