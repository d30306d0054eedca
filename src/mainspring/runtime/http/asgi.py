"""An ASGI application behind the HTTP server: bodies and answers are handed on in parts, with back pressure."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

from mainspring.runtime.http.answers import error_body
from mainspring.runtime.http.request import Request

Message = MutableMapping[str, Any]
Application = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

log = logging.getLogger(__name__)

_VERSIONS = {"version": "3.0", "spec_version": "2.4"}
_FRAMING = (b"content-length", b"transfer-encoding", b"connection", b"date")


class AsgiBridge:
    """Answers requests with an ASGI application, each in a task of its own."""

    def __init__(self, application: Application, server: tuple[str, int]) -> None:
        self._application = application
        self._server = server
        self._tasks: set[asyncio.Task[None]] = set()

    def handle(self, request: Request) -> None:
        """Begin to answer a request."""
        task = asyncio.get_running_loop().create_task(self._answer(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, request: Request) -> None:
        exchange = _Exchange(request)
        try:
            await self._application(self._scope(request), exchange.receive, exchange.send)
        except ConnectionResetError:
            return
        except Exception:
            log.exception("the application failed on %r %r", request.method, request.path)
        if exchange.complete or request.closed or request.answer is not None:
            return
        if request.begun:
            request.abort()
        else:
            request.respond(500, error_body("the server failed on this request"))

    def _scope(self, request: Request) -> dict[str, Any]:
        path = request.path.decode("ascii", "replace")
        return {
            "type": "http",
            "asgi": _VERSIONS,
            "http_version": request.version,
            "method": request.method.decode("ascii"),
            "scheme": "http",
            "path": unquote(path) if "%" in path else path,
            "raw_path": request.path,
            "query_string": request.query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in zip(request.names, request.fields[1::2], strict=True)],
            "client": request.peer,
            "server": self._server,
            "state": {},
        }


class _Exchange:
    """One request and its answer, as an application sees them."""

    def __init__(self, request: Request) -> None:
        self.complete = False
        self._request = request
        self._taken = False
        self._head: Message | None = None

    async def receive(self) -> Message:
        """Give the next part of the body, or, behind it, that the client has gone."""
        request = self._request
        if self._taken:
            if request.stream is not None and not request.closed:
                await request.stream.gone()
            return {"type": "http.disconnect"}
        if request.stream is None:
            self._taken = True
            return {"type": "http.request", "body": request.body, "more_body": False}
        try:
            part = await request.stream.read()
        except ConnectionResetError:
            self._taken = True
            return {"type": "http.disconnect"}
        self._taken = not part
        return {"type": "http.request", "body": part, "more_body": bool(part)}

    async def send(self, message: Message) -> None:
        """Send what the application answers; raises ConnectionResetError for a client that has gone."""
        if message["type"] == "http.response.start":
            self._head = message
        elif message["type"] == "http.response.body":
            await self._part(message.get("body", b""), more=message.get("more_body", False))

    async def _part(self, data: bytes, *, more: bool) -> None:
        request = self._request
        if not request.begun:
            head = self._head
            if head is None:
                raise RuntimeError("an answer began without its head")
            if request.unread and not more:
                request.keep_alive = False  # Nobody will read the rest: say so.
            await self._begin(head, None if more else len(data))
        if more:
            await request.send(data)
            return
        self.complete = True
        if data:
            await request.send(data)
        request.end()

    async def _begin(self, head: Message, known: int | None) -> None:
        lines, length = [], known
        for name, value in head.get("headers", ()):
            lower = name.lower()
            if lower == b"content-length":
                length = int(value)
            elif lower not in _FRAMING:
                lines.append(b"%b: %b\r\n" % (name, value))
        await self._request.begin(head["status"], b"".join(lines), length)
