"""The calls of the protocol on the HTTP server itself: what a run logs passes here thousands of times a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote

import msgspec

from mainspring.core.actor import acting_as
from mainspring.protocols.mlflow.answering import Observer, refusal, user_of
from mainspring.protocols.mlflow.app import all_calls
from mainspring.protocols.mlflow.calls import Call, CallTable, Services
from mainspring.protocols.mlflow.reading import read_body, read_query
from mainspring.runtime.http.request import Request
from mainspring.runtime.telemetry.trace import in_trace, new_trace, parse_traceparent
from mainspring.runtime.threads import Threads
from mainspring.runtime.write_turns import WriteTurns

SMALL_BYTES = 16 * 1024
"""Requests up to this size are read on the event loop, and what they write may share a transaction."""

_ROOTS = (b"/api/", b"/ajax-api/")
_STREAMED = (b"/api/2.0/mlflow-artifacts/", b"/ajax-api/2.0/mlflow-artifacts/", b"/ajax-api/2.0/mlflow/upload-artifact")
_EMPTY = b"{}"

_encode = msgspec.json.Encoder().encode


class _Served(NamedTuple):
    call: Call
    name: str


class MlflowServer:
    """Answers the calls whose request and answer are JSON; all belongs to the event loop's thread."""

    def __init__(
        self, services: Services, threads: Threads, turns: WriteTurns | None, observer: Observer | None = None
    ) -> None:
        """Answer with *services*; small writes go through *turns*, all else through *threads*."""
        self._services, self._threads, self._turns, self._observer = services, threads, turns, observer
        calls = list(all_calls())
        self._table = CallTable(calls)
        self._fixed = {
            (call.method.encode(), root.removesuffix(b"/") + call.path.encode()): _Served(call, f"mlflow {call.path}")
            for call in calls
            if call.pattern is None
            for root in _ROOTS
        }
        self._tasks: set[asyncio.Task[None]] = set()

    @staticmethod
    def streams(target: bytes) -> bool:
        """Tell whether a request is no call of these, by its target: whether it is read while it arrives."""
        return not target.startswith(_ROOTS) or target.startswith(_STREAMED)

    def handle(self, request: Request) -> bool:
        """Begin to answer a request; False for one that is none of the calls."""
        served = self._fixed.get((request.method, request.path))
        given: dict[str, str] = {}
        if served is None:
            found = self._find(request)
            if found is None:
                return False
            served, given = found
        exchange = _Exchange(request, served.name, self._observer)
        if served.call.writes and self._turns is not None and len(request.body) <= SMALL_BYTES:
            self._write(self._turns, exchange, served.call, given)
        else:
            task = asyncio.get_running_loop().create_task(self._answer(exchange, served.call, given))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return True

    def _find(self, request: Request) -> tuple[_Served, dict[str, str]] | None:
        for root in _ROOTS:
            if request.path.startswith(root):
                path = unquote(request.path[len(root) - 1 :].decode("ascii", "replace"))
                found = self._table.find(request.method.decode("ascii"), path)
                return None if found is None else (_Served(found[0], f"mlflow {found[0].path}"), found[1])
        return None

    def _write(self, turns: WriteTurns, exchange: _Exchange, call: Call, given: Mapping[str, str]) -> None:
        try:
            work = call.carry_out(self._services, _read(exchange.request, call, given))
            turns.submit(exchange.within(work), exchange.tell)
        except Exception as error:  # noqa: BLE001 (the caller is told)
            exchange.tell(error)

    async def _answer(self, exchange: _Exchange, call: Call, given: Mapping[str, str]) -> None:
        def carried_out() -> bytes:
            with exchange.signed():
                answer = call.carry_out(self._services, _read(exchange.request, call, given))
                return _encoded(self._services.database.carry_out(answer) if call.writes else answer)

        try:
            outcome: Any = await self._threads.run(carried_out)
        except Exception as error:  # noqa: BLE001 (the caller is told)
            outcome = error
        exchange.tell(outcome)


class _Exchange:
    """One request, who sent it, and when."""

    __slots__ = ("_name", "_observer", "_origin", "_started", "_traceparent", "_user", "request")

    def __init__(self, request: Request, name: str, observer: Observer | None) -> None:
        self.request = request
        self._name, self._observer = name, observer
        self._started = time.perf_counter()
        self._user = user_of(request.header(b"authorization"), request.header(b"x-mainspring-actor"))
        self._origin = f"mlflow {request.peer[0]}"
        self._traceparent = request.header(b"traceparent")

    @contextmanager
    def signed(self) -> Iterator[None]:
        """What is done within is done by who sent the request, in their trace."""
        caller = parse_traceparent(self._traceparent)
        with in_trace(caller.child() if caller else new_trace()), acting_as(self._user, self._origin):
            yield

    def acting(self) -> AbstractContextManager[None]:
        """What is done within is done by who sent the request."""
        return acting_as(self._user, self._origin)

    def within(self, work: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Give *work*, signed."""

        def signed(connection: Any) -> Any:
            with self.acting():
                return work(connection)

        return signed

    def tell(self, outcome: Any) -> None:
        """Answer with what came out, be it an exception."""
        status, headers = 200, b""
        if isinstance(outcome, bytes):
            body = outcome
        elif isinstance(outcome, Exception):
            status, body, headers = self._refusal(outcome)
        else:
            body = _encoded(outcome)
        if self._observer is not None:
            self._observer.called(self._name, status, time.perf_counter() - self._started)
        self.request.respond(status, body, headers=headers)

    def _refusal(self, error: Exception) -> tuple[int, bytes, bytes]:
        caller = parse_traceparent(self._traceparent)
        with in_trace(caller.child() if caller else new_trace()):
            status, body, headers = refusal(error)
        return status, _encode(body), b"".join(b"%b: %b\r\n" % (n.encode(), v.encode()) for n, v in headers.items())


def _read(request: Request, call: Call, given: Mapping[str, str]) -> msgspec.Struct:
    if request.method == b"GET":
        query = parse_qs(request.query.decode("utf-8", "replace"), keep_blank_values=True)
        return read_query(query, call.ask, given)
    return read_body(request.body, call.ask, given)


def _encoded(answer: Any) -> bytes:
    return _EMPTY if answer is None else _encode(answer)
