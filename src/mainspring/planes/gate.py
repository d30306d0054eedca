"""The gate of the control plane: who calls is found out, and may do what is called, before anything is carried out.

It stands before every protocol. What a call is about, each protocol tells by its rulebook; what the caller may do, the
room `access` knows. Behind the gate the caller is known by name, whatever the request said of it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mainspring.access.model import User
from mainspring.access.rules import Asked, Rulebook
from mainspring.access.service import Access
from mainspring.core.errors import Forbidden, InvalidRequest, MainspringError, TooLarge, Unauthenticated
from mainspring.protocols.mlflow.server import MlflowServer
from mainspring.runtime.http.request import Request
from mainspring.runtime.threads import Threads

_EVER = datetime.min.replace(tzinfo=UTC)
OWNER = User(id=0, name="owner", admin=True, created=_EVER, updated=_EVER)
"""Who may read the home may do everything with what is in it."""
_SPOKEN_FOR = (b"x-mainspring-actor", b"authorization")


class Gate:
    """Lets calls through to *app* that *access* allows; the first of *rulebooks* that serves a path judges it."""

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        rulebooks: Sequence[Rulebook],
        threads: Threads,
        *,
        owner_token: str,
        max_body_bytes: int,
    ) -> None:
        self._app, self._access, self._rulebooks, self._threads = app, access, rulebooks, threads
        self._owner_token, self._max_bytes = owner_token.encode(), max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = _asked(scope)
        book = next(book for book in self._rulebooks if book.serves(asked.path))
        try:
            await self._pass(book, asked, scope, receive, send)
        except MainspringError as error:
            status, body = book.refused(error)
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            if isinstance(error, Unauthenticated):
                headers.append((b"www-authenticate", b'Basic realm="mainspring", charset="UTF-8"'))
            if error.retryable:
                headers.append((b"retry-after", b"1"))
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    async def _pass(self, book: Rulebook, asked: Asked, scope: Scope, receive: Receive, send: Send) -> None:
        if book.is_open(asked):
            await self._app(scope, receive, send)
            return
        _check_origin(asked)
        user = await self._threads.run(lambda: self._caller(asked))
        if book.reads_body(asked):
            body = await self._body(receive)
            receive = _again(body, receive)
            asked = msgspec.structs.replace(asked, body=_json(body))
        await self._threads.run(lambda: self._check(book, asked, user))
        inside = {**scope, "headers": _signed(scope["headers"], user)}
        if not book.needs_answer(asked):
            await self._app(inside, receive, send)
            return
        answer = _Answer()
        await self._app(inside, receive, answer.take)
        if answer.status < 300:
            content = msgspec.json.decode(bytes(answer.body))
            settled = await self._threads.run(lambda: book.settled(asked, content, user, self._access))
            answer.body = bytearray(msgspec.json.encode(settled))
        await answer.pass_on(send)

    def _check(self, book: Rulebook, asked: Asked, user: User) -> None:
        # An admin may do everything: what the call is about need not be found out.
        if not user.admin:
            self._access.check(user, book.wanted(asked))

    def _caller(self, asked: Asked) -> User:
        scheme, _, said = asked.headers.get("authorization", "").partition(" ")
        user = None
        if scheme.lower() == "bearer":
            if hmac.compare_digest(said.strip().encode(), self._owner_token):
                return OWNER
            user = self._access.user_of_token(said.strip())
        elif scheme.lower() == "basic":
            name, password = _login(said)
            user = self._access.authenticate(name, password)
        if user is None:
            said_what = "the login is not right" if scheme else "no login was given"
            raise Unauthenticated(
                f"You are not authenticated: {said_what}. Send HTTP Basic (MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD with MLflow's client) or a token (MAINSPRING_TOKEN, MLFLOW_TRACKING_TOKEN)"
            )
        return user

    async def _body(self, receive: Receive) -> bytes:
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise InvalidRequest("the client went away")
            size += len(message.get("body", b""))
            if size > self._max_bytes:
                raise TooLarge(f"the body is larger than {self._max_bytes} bytes; send less at once")
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                return b"".join(parts)


class Behind:
    """What lies behind the gate: the calls of MLflow's clients on their own server, all else in the application."""

    def __init__(self, mlflow: MlflowServer, app: ASGIApp) -> None:
        self._mlflow, self._app = mlflow, app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request that was let through."""
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        if scope["type"] == "http" and not MlflowServer.streams(target):
            # The gate has read the body already, where there is one.
            body = (await receive()).get("body", b"")
            receive = _again(body, receive)
            channel = _Channel(scope["client"])
            fields = [part for field in scope["headers"] for part in field]
            method, names = scope["method"].encode(), tuple(fields[::2])
            request = Request(channel, method, target, fields, body, True, scope["http_version"], names)
            if self._mlflow.handle(request):
                await channel.done.wait()
                await _send_answer(request, send)
                return
        await self._app(scope, receive, send)


class _Channel:
    """What a request is answered on that came by no connection of its own."""

    lost = False

    def __init__(self, peer: tuple[str, int]) -> None:
        self.peer, self.done = peer, asyncio.Event()

    def answered(self, request: Request) -> None:
        self.done.set()

    async def turn_of(self, request: Request) -> None:
        raise NotImplementedError("calls in JSON are answered at once")

    def begin(self, request: Request, status: int, headers: bytes, length: int | None) -> None:
        raise NotImplementedError("calls in JSON are answered at once")

    def part(self, request: Request, data: bytes) -> None:
        raise NotImplementedError("calls in JSON are answered at once")

    def end(self, request: Request) -> None:
        raise NotImplementedError("calls in JSON are answered at once")

    def abort(self) -> None:
        raise NotImplementedError("calls in JSON are answered at once")

    def body_taken(self) -> None:
        raise NotImplementedError("calls in JSON come whole")


async def _send_answer(request: Request, send: Send) -> None:
    assert request.answer is not None
    status, body, content_type, lines = request.answer
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    for line in lines.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon:
            headers.append((name.lower(), value.strip()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class _Answer:
    """An answer that is looked at before it goes out."""

    def __init__(self) -> None:
        self.status, self.body = 500, bytearray()
        self._headers: list[tuple[bytes, bytes]] = []

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self._headers = message["status"], list(message["headers"])
        else:
            self.body += message.get("body", b"")

    async def pass_on(self, send: Send) -> None:
        headers = [(name, value) for name, value in self._headers if name.lower() != b"content-length"]
        headers.append((b"content-length", str(len(self.body)).encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": bytes(self.body)})


def _asked(scope: Scope) -> Asked:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    return Asked(method=method, path=scope["path"], query=query, headers=headers)


def _signed(headers: Sequence[tuple[bytes, bytes]], user: User) -> list[tuple[bytes, bytes]]:
    others = [(name, value) for name, value in headers if name.lower() not in _SPOKEN_FOR]
    return [*others, (b"x-mainspring-actor", user.name.encode())]


def _check_origin(asked: Asked) -> None:
    # Browsers send a login by themselves, also for a page of somebody else.
    origin = asked.headers.get("origin")
    if origin and urlsplit(origin).netloc.lower() != asked.headers.get("host", "").lower():
        raise Forbidden(f"pages of other sites may not call; Origin was {origin!r}")


def _login(said: str) -> tuple[str, str]:
    try:
        name, _, password = base64.b64decode(said.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return "", ""
    return name, password


def _json(body: bytes) -> Any:
    try:
        # Python's own reader takes the literals NaN and Infinity, as MLflow's clients write them.
        return json.loads(body) if body else None
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"the body is not a JSON object: {error}") from None


def _again(body: bytes, receive: Receive) -> Receive:
    """Give the body once more, and then what the connection says."""
    left = [body]

    async def replayed() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return replayed
