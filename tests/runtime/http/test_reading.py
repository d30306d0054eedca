"""What is a request, what is refused, and with which status."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mainspring.runtime.http.limits import Limits
from mainspring.runtime.http.request import Request
from tests.runtime.http.wire import Client, Running, chunked, echo, eventually, get, post

Start = Callable[..., Running]
HEAD = b"POST /x HTTP/1.1\r\nHost: here\r\n"


def refused(port: int, data: bytes) -> int:
    """The status of the refusal of *data*; checks that it is a JSON error and that the connection is closed."""
    with Client(port) as client:
        reply = client.send(data).reply()
        assert reply.headers["connection"] == "close"
        assert reply.headers["content-type"] == "application/json"
        assert list(msgspec.json.decode(reply.body)) == ["error"]
        assert client.closed()
        return reply.status


@pytest.fixture
def port(start: Start) -> int:
    return start(echo).port


@pytest.mark.parametrize("data", [post(b"a body", b"/p?q=1"), chunked(b"a ", b"body", trailers=b"X-T: 1\r\n")])
def test_a_request_that_comes_byte_by_byte_is_the_same_request(port: int, data: bytes) -> None:
    with Client(port) as client:
        for at in range(len(data)):
            client.send(data[at : at + 1])
        assert client.reply().body == b"a body"
        assert client.send(post(b"next")).reply().body == b"next"


def test_chunks_are_joined_and_trailers_are_not_headers(start: Start) -> None:
    seen: list[bytes | None] = []

    def look(request: Request) -> None:
        seen.append(request.header(b"x-user"))
        request.respond(200, request.body)

    with Client(start(look).port) as client:
        client.send(chunked(b"one", b"two", b"three" * 1000, trailers=b"X-User: mallory\r\n") + get())
        assert client.reply().body == b"onetwo" + b"three" * 1000
        assert client.reply().status == 200
    assert seen == [None, None]


def test_headers_are_found_by_lower_name_and_repeated_ones_are_joined(start: Start) -> None:
    seen: list[bytes | None] = []

    def look(request: Request) -> None:
        seen.extend(request.header(name) for name in (b"x-user", b"accept", b"absent"))
        request.respond(200, b"")

    with Client(start(look).port) as client:
        client.send(get(more=b"X-USER:  me \r\nAccept: a\r\naccept: b\r\n")).reply()
    assert seen == [b"me", b"a, b", None]


def test_a_large_body_arrives_whole(start: Start) -> None:
    body = bytes(range(256)) * 40_000
    with Client(start(lambda request: request.respond(200, b"%d" % (request.body == body))).port) as client:
        assert client.send(post(body)).reply().body == b"1"
        assert (
            client.send(chunked(*[body[at : at + 70_000] for at in range(0, len(body), 70_000)])).reply().body == b"1"
        )


def test_a_whole_url_as_target_is_its_path_and_query(port: int) -> None:
    with Client(port) as client:
        headers = client.send(get(b"http://here:80/a?b=c")).reply().headers
        assert (headers["x-path"], headers["x-query"]) == ("/a", "b=c")


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        HEAD + b"Content-Length: 1, 1\r\n\r\nx",
        HEAD + b"Content-Length: +1\r\n\r\nx",
        HEAD + b"Content-Length: 0x1\r\n\r\nx",
        HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1 \r\nx\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\nx\n0\n\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"X: folded\r\n over lines\r\n\r\n",
        HEAD + b"X : space before colon\r\n\r\n",
        HEAD + b"X: nul \0\r\n\r\n",
        HEAD + b"X: bare line feed\n\r\n",
        HEAD + b"Host: twice\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
        b"HELLO\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
)
def test_what_two_readers_could_understand_differently_is_refused_with_400(port: int, data: bytes) -> None:
    assert refused(port, data) == 400


def test_other_versions_of_http_are_refused(port: int) -> None:
    assert refused(port, b"GET / HTTP/2.0\r\nHost: h\r\n\r\n") == 505


def test_a_target_that_is_too_long_gets_414(start: Start) -> None:
    port = start(echo, Limits(max_url_bytes=100)).port
    assert refused(port, get(b"/" + b"a" * 100)) == 414
    assert refused(port, b"GET /" + b"a" * 10_000) == 414
    with Client(port) as client:
        assert client.send(get(b"/" + b"a" * 99)).reply().status == 200


def test_a_header_that_is_too_large_gets_431_however_it_comes(start: Start) -> None:
    port = start(echo, Limits(max_header_bytes=1000)).port
    large = get(more=b"X: " + b"a" * 1000 + b"\r\n")
    assert refused(port, large) == 431
    # Not even a name that never ends is kept beyond the limit.
    assert refused(port, b"GET / HTTP/1.1\r\n" + b"a" * 200_000) == 431
    with Client(port) as client:
        for at in range(len(large)):
            client.send(large[at : at + 1])
            if at == 800:
                time.sleep(0.01)
        assert client.reply().status == 431
    with Client(port) as client:
        assert client.send(get(more=b"X: " + b"a" * 900 + b"\r\n") + post(b"b" * 3000)).reply().status == 200
        assert client.reply().body == b"b" * 3000


def test_too_many_header_fields_get_431(start: Start) -> None:
    port = start(echo, Limits(max_headers=20)).port
    assert refused(port, get(more=b"X: 1\r\n" * 20)) == 431
    with Client(port) as client:
        assert client.send(get(more=b"X: 1\r\n" * 19)).reply().status == 200


def test_a_body_over_the_limit_gets_413_before_it_is_sent(start: Start) -> None:
    port = start(echo, Limits(max_body_bytes=1000)).port
    expecting = HEAD + b"Expect: 100-continue\r\nContent-Length: 1001\r\n\r\n"
    assert refused(port, expecting) == 413
    assert refused(port, HEAD + b"Content-Length: 1001\r\n\r\n") == 413
    assert refused(port, post(b"x" * 1001)) == 413
    assert refused(port, chunked(b"x" * 600, b"x" * 600)) == 413
    with Client(port) as client:
        assert client.send(post(b"x" * 1000)).reply().status == 200
        assert client.send(chunked(b"x" * 600, b"x" * 400)).reply().status == 200


def test_an_expectation_that_cannot_be_met_gets_417(port: int) -> None:
    assert refused(port, HEAD + b"Expect: a-miracle\r\nContent-Length: 5\r\n\r\n") == 417


@pytest.mark.parametrize("padding", [b"1;" + b"e" * 50_000 + b"\r\nx\r\n", b"0\r\nX-T: " + b"t" * 50_000])
def test_chunk_extensions_and_trailers_are_bounded(start: Start, padding: bytes) -> None:
    running = start(echo, Limits(max_header_bytes=1000))
    with Client(running.port) as client:
        client.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        eventually(lambda: running.server.connections == 1)
        client.send(b"1\r\nx\r\n" + padding)
        time.sleep(0.02)
        client.send(b"z" * 2000)
        assert client.reply().status in (400, 431)
        assert client.closed()


def test_bodies_of_all_connections_together_are_bounded(start: Start) -> None:
    running = start(echo, Limits(max_buffered_bytes=150_000))
    with Client(running.port) as first, Client(running.port) as second:
        first.send(post(b"x" * 100_000)[:-1])
        eventually(lambda: running.server._state.buffered_bytes > 0)
        second.send(post(b"x" * 100_000)[:50_000])
        eventually(lambda: running.server._state.buffered_bytes >= 99_000)
        second.send(b"x" * 49_000)
        reply = second.reply()
        assert (reply.status, "retry-after" in reply.headers) == (503, True)
        assert first.send(b"x").reply().status == 200
    eventually(lambda: running.server.connections == 0)
    assert running.server._state.buffered_bytes == 0


@pytest.mark.parametrize("size", [0, 5, 100_000])
def test_an_offer_to_upgrade_is_ignored_and_the_body_is_still_a_body(port: int, size: int) -> None:
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    with Client(port) as client:
        client.send(get(b"/1") + post(b"x" * size, b"/2?a=b", offer) + get(b"/3", offer) + post(b"end", b"/4"))
        assert client.reply().headers["x-path"] == "/1"
        reply = client.reply()
        assert (reply.body, reply.headers["x-path"], reply.headers["x-query"]) == (b"x" * size, "/2", "a=b")
        assert client.reply().headers["x-path"] == "/3"
        assert client.reply().body == b"end"


def test_a_flood_of_upgrade_offers_is_answered(port: int) -> None:
    with Client(port) as client:
        client.send(get(more=b"Connection: Upgrade\r\nUpgrade: h2c\r\n") * 700)
        assert {client.reply().status for _ in range(700)} == {200}


def test_connect_is_not_served(port: int) -> None:
    assert refused(port, b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\n") == 405


_PIECES = st.sampled_from(
    [
        get(), post(b"abc"), chunked(b"abc", b"d"), b"\r\n", b"\0", b"GET / HTTP/1.1\r\n", b"Host: h\r\n", b": ",
        b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"0\r\n\r\n",
        b"Connection: Upgrade\r\nUpgrade: x\r\n", b"Expect: 100-continue\r\n", b"5\r\nhello\r\n", b"PRI * HTTP/2.0\r\n",
    ]
)  # fmt: skip


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.lists(st.one_of(_PIECES, st.binary(max_size=40)), max_size=12), cut=st.integers(1, 50))
def test_no_bytes_can_crash_the_server(start: Start, data: list[bytes], cut: int) -> None:
    running = fuzzed.get(id(start)) or fuzzed.setdefault(id(start), start(echo))
    raw = b"".join(data)
    with Client(running.port) as client:
        for at in range(0, len(raw), cut):
            try:
                client.send(raw[at : at + cut])
            except (BrokenPipeError, ConnectionResetError):
                break
    with Client(running.port) as client:
        assert client.send(post(b"still here")).reply().body == b"still here"
    eventually(lambda: running.server.connections == 0)


fuzzed: dict[int, Running] = {}
