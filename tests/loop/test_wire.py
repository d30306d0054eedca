"""The small client against a real server."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mainspring.core.errors import Unavailable
from mainspring.loop.wire import Call, send_all
from tests.servers import free_port


class Echo(BaseHTTPRequestHandler):
    """Answers with the body; does otherwise as often as it is told for a path."""

    protocol_version = "HTTP/1.1"
    refusals: dict[str, int]
    breaks: dict[str, int]
    lock = threading.Lock()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self._due(self.breaks):
            self.close_connection = True
            return
        self.send_response(503 if self._due(self.refusals) else 200)
        self.send_header("content-length", str(len(body)))
        if self.path == "/once":
            self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _due(self, times: dict[str, int]) -> bool:
        with self.lock:
            times[self.path] = times.get(self.path, 0) - 1
            return times[self.path] >= 0

    def log_message(self, *arguments: object) -> None:
        """Keep quiet."""


@pytest.fixture
def echo() -> Iterator[Callable[..., str]]:
    running: list[ThreadingHTTPServer] = []

    def start(refusals: dict[str, int] | None = None, breaks: dict[str, int] | None = None) -> str:
        handler = type("Handler", (Echo,), {"refusals": dict(refusals or {}), "breaks": dict(breaks or {})})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        running.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def test_answers_come_in_the_order_of_the_calls(echo: Callable[..., str]) -> None:
    calls = [Call("/a", json.dumps(number).encode()) for number in range(200)]
    replies = send_all(echo(), calls, connections=5)
    assert [json.loads(reply.body) for reply in replies] == list(range(200))
    assert {reply.status for reply in replies} == {200}
    assert all(reply.seconds > 0 for reply in replies)


def test_an_overloaded_server_is_asked_again(echo: Callable[..., str]) -> None:
    replies = send_all(echo(refusals={"/busy": 2}), [Call("/busy", b"1")])
    assert (replies[0].status, replies[0].retries) == (200, 2)


def test_a_broken_connection_is_made_again(echo: Callable[..., str]) -> None:
    url = echo(breaks={"/broken": 1})
    replies = send_all(url, [Call("/fine", b"1"), Call("/broken", b"2"), Call("/fine", b"3")], connections=1)
    assert [reply.body for reply in replies] == [b"1", b"2", b"3"]
    assert [reply.retries for reply in replies] == [0, 1, 0]


def test_a_connection_that_the_server_closes_is_not_used_again(echo: Callable[..., str]) -> None:
    replies = send_all(echo(), [Call("/once", b"1"), Call("/a", b"2")], connections=1)
    assert [reply.status for reply in replies] == [200, 200]


def test_no_calls_need_no_server() -> None:
    assert send_all("http://127.0.0.1:1", []) == []


def test_a_place_where_nothing_listens_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mainspring.loop.wire._PATIENCE_S", 0.2)
    with pytest.raises(Unavailable, match="nothing answers at http://127"):
        send_all(f"http://127.0.0.1:{free_port()}", [Call("/a", b"1")])
