"""An ASGI application behind the server: parts in, parts out, and neither faster than the other side takes them."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import httpx2
import pytest

from mainspring.runtime.http.asgi import AsgiBridge
from mainspring.runtime.http.limits import Limits
from mainspring.runtime.http.request import Request
from mainspring.runtime.http.streams import HIGH_BYTES
from tests.runtime.http.wire import Client, Running, chunked, eventually, get, post

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]
Serve = Callable[..., Running]


@pytest.fixture
def serve(start: Callable[..., Running]) -> Serve:
    """Serve an application; every path is streamed but those below ``/whole``."""

    def begin(application: Any, limits: Limits | None = None) -> Running:
        bridge = AsgiBridge(application, ("127.0.0.1", 80))
        return start(bridge.handle, limits, streams=lambda target: not target.startswith(b"/whole"))

    return begin


async def read(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError
        parts.append(message["body"])
        if not message["more_body"]:
            return b"".join(parts)


async def answer(send: Send, body: bytes, status: int = 200, *headers: tuple[bytes, bytes]) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = await read(receive)
    told = f"{scope['method']} {scope['path']} {scope['query_string'].decode()} ".encode()
    await answer(send, told + body, 200, (b"x-Own", b"a"))


@pytest.mark.parametrize("path", [b"/a%20b?c=%20d", b"/whole/a?c"])
def test_a_request_reaches_the_application_as_it_was_sent(serve: Serve, path: bytes) -> None:
    with Client(serve(echo).port) as client:
        reply = client.send(post(b"x" * 100_000, path)).reply()
        shown = {b"/a%20b?c=%20d": b"/a b c=%20d", b"/whole/a?c": b"/whole/a c"}[path]
        assert (reply.status, reply.body) == (200, b"POST " + shown + b" " + b"x" * 100_000)
        assert reply.headers["x-Own"] == "a"
        assert {"date", "content-length"} <= set(reply.headers)
        assert client.send(get(path)).reply().body.startswith(b"GET ")
        assert client.send(chunked(b"one", b"two")).reply().body.endswith(b"onetwo")


def test_an_ordinary_client_uploads_and_downloads_streams_over_one_connection(serve: Serve) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        digest = hashlib.sha256()
        while True:
            message = await receive()
            digest.update(message["body"])
            if not message["more_body"]:
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(50):
            await send({"type": "http.response.body", "body": b"y" * 100_000, "more_body": True})
        await send({"type": "http.response.body", "body": digest.hexdigest().encode()})

    running = serve(application)
    sent = [bytes([number]) * 70_000 for number in range(100)]
    with httpx2.Client(base_url=f"http://127.0.0.1:{running.port}") as client:
        for _ in range(2):
            body = client.put("/up", content=iter(sent)).content
            assert body[:-64] == b"y" * 5_000_000
            assert body[-64:].decode() == hashlib.sha256(b"".join(sent)).hexdigest()
    assert running.server.counters["accepted"] == 1


def test_a_body_is_read_no_faster_than_the_application_takes_it(serve: Serve) -> None:
    go, seen = threading.Event(), []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.to_thread(go.wait)
        body = await read(receive)
        seen.append(len(body))
        await answer(send, b"done")

    running = serve(application, Limits(max_body_bytes=1000, max_buffered_bytes=1000))
    with Client(running.port) as client:
        client.socket.setblocking(False)
        head = b"PUT /up HTTP/1.1\r\nHost: here\r\nContent-Length: 50000000\r\n\r\n"
        rest, taken = memoryview(head + b"z" * 50_000_000), 0
        for _ in range(200):
            try:
                taken += client.socket.send(rest[taken : taken + 1_000_000])
            except BlockingIOError:
                threading.Event().wait(0.005)
        assert taken < HIGH_BYTES + 12_000_000  # The rest is what the kernel's buffers hold.
        go.set()
        client.socket.settimeout(20)
        client.socket.sendall(rest[taken:])
        assert client.reply().body == b"done"
    assert seen == [50_000_000]


def test_an_answer_is_made_no_faster_than_the_client_takes_it(serve: Serve) -> None:
    sent = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"50000000")]})
        for _ in range(500):
            await send({"type": "http.response.body", "body": b"w" * 100_000, "more_body": True})
            sent.append(100_000)
        await send({"type": "http.response.body", "body": b""})

    with Client(serve(application).port, receive_buffer=65536) as client:
        client.send(get())
        eventually(lambda: len(sent) > 0)
        threading.Event().wait(0.3)
        assert sum(sent) < 20_000_000
        client.head()
        came = len(client.rest)
        while came < 50_000_000:
            came += len(client.socket.recv(1 << 20))
        assert came == 50_000_000


def test_a_client_that_leaves_ends_what_is_made_for_it(serve: Serve) -> None:
    ended: list[str] = []

    async def sends(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                await send({"type": "http.response.body", "body": b"v" * 100_000, "more_body": True})
        except OSError:
            ended.append("sends")
            raise

    async def reads(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        ended.append("reads")

    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        assert (await receive())["type"] == "http.disconnect"
        ended.append("waits")

    for application, request in (
        (sends, get()),
        (reads, b"PUT / HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n\r\nabc"),
        (waits, get()),
    ):
        with Client(serve(application).port) as client:
            client.send(request)
            if application is sends:
                client.head()
            threading.Event().wait(0.05)
            if application is waits:  # To close as others do could mean that it still wants to read.
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        eventually(lambda application=application: ended[-1:] == [application.__name__])


def test_pipelined_requests_are_answered_in_their_order(serve: Serve) -> None:
    order = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        number = int(scope["path"][1:])
        await asyncio.sleep(0.02 * (3 - number))
        order.append(number)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]})
        for part in (b"part%d" % number, b"!"):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    with Client(serve(application).port) as client:
        client.send(b"".join(get(b"/%d" % number) for number in range(4)))
        assert [client.reply().body for _ in range(4)] == [b"part%d!" % number for number in range(4)]
    assert order == [3, 2, 1, 0]


def test_an_answer_before_the_body_has_come_ends_the_connection_and_is_read(serve: Serve) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"too much", 413)

    with Client(serve(application).port) as client:
        client.send(b"PUT / HTTP/1.1\r\nHost: here\r\nContent-Length: 100000000\r\n\r\n" + b"u" * 100_000)
        reply = client.reply()
        assert (reply.status, reply.body, reply.headers["connection"]) == (413, b"too much", "close")
        assert client.closed()


def test_who_waits_to_be_asked_for_the_body_is_asked(serve: Serve) -> None:
    with Client(serve(echo).port) as client:
        client.send(b"PUT / HTTP/1.1\r\nHost: here\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert client.head() == b"HTTP/1.1 100 Continue"
        assert client.send(b"abc").reply().body.endswith(b"abc")


def test_the_head_of_an_answer_tells_the_length_of_its_body_and_a_bodiless_one_none(serve: Serve) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"77")]})
            await send({"type": "http.response.body", "body": b""})
        else:
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

    with Client(serve(application).port) as client:
        reply = client.send(b"HEAD / HTTP/1.1\r\nHost: here\r\n\r\n").reply(to_head=True)
        assert (reply.status, reply.headers["content-length"]) == (200, "77")
        reply = client.send(get()).reply()
        assert (reply.status, "content-length" in reply.headers) == (204, False)


def test_an_answer_of_unknown_length_to_an_old_client_ends_with_the_connection(serve: Serve) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await send({"type": "http.response.body", "body": b"two"})

    with Client(serve(application).port) as client:
        client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert b"transfer-encoding" not in client.head()
        while len(client.rest) < 6:
            client.rest += client.socket.recv(10)
        assert client.rest == b"onetwo"
        client.rest = b""
        assert client.closed()


def test_an_application_that_fails_is_told_as_500_or_as_a_cut_answer(serve: Serve) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/late":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError("a mistake")

    port = serve(application).port
    with Client(port) as client:
        assert client.send(get(b"/early")).reply().status == 500
        assert client.send(get(b"/early")).reply().status == 500
        client.send(get(b"/late")).head()
        client.rest = b""
        with pytest.raises((AssertionError, ConnectionResetError)):
            client.rest += client.socket.recv(10)
            client.head()


def test_a_body_that_breaks_off_or_breaks_the_rules_is_refused_once(serve: Serve) -> None:
    port = serve(echo, Limits(body_timeout_s=0.1)).port
    with Client(port) as client:
        client.send(b"PUT / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n")
        assert client.reply().status == 400
        assert client.closed()
    with Client(port) as client:
        client.send(b"PUT / HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n\r\nabc")
        assert client.reply().status == 408
        assert client.closed()


def test_an_offer_to_speak_another_protocol_is_ignored(serve: Serve) -> None:
    with Client(serve(echo).port) as client:
        offer = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
        assert client.send(post(b"abc", b"/", offer)).reply().body == b"POST /  abc"


def test_what_was_begun_is_finished_before_the_server_stops(serve: Serve) -> None:
    began = threading.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        began.set()
        await asyncio.sleep(0.2)
        await answer(send, b"done")

    running = serve(application)
    with Client(running.port) as client:
        client.send(get())
        assert began.wait(5)
        assert running.drain() == 0
        reply = client.reply()
        assert (reply.body, reply.headers["connection"]) == (b"done", "close")


def test_a_request_is_answered_once(serve: Serve, start: Callable[..., Running]) -> None:
    failures = []

    def handler(request: Request) -> None:
        async def twice() -> None:
            await request.begin(200, b"", 2)
            await request.send(b"ok")
            request.end()
            try:
                request.respond(200, b"again")
            except RuntimeError as error:
                failures.append(str(error))

        handler.task = asyncio.get_running_loop().create_task(twice())  # type: ignore[attr-defined]

    with Client(start(handler).port) as client:
        assert client.send(get()).reply().body == b"ok"
    eventually(lambda: len(failures) == 1)
