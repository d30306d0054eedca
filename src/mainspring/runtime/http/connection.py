"""One client connection: requests go to the handler, answers leave in the order of the requests."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import cast

from mainspring.runtime.http.answers import (
    BODILESS,
    CHUNKED,
    CLOSE,
    CONTINUE,
    KEEP,
    LAST_CHUNK,
    bodiless_answer,
    chunk,
    error_body,
    parted_head,
)
from mainspring.runtime.http.reading import RequestReader
from mainspring.runtime.http.request import Answer, Request
from mainspring.runtime.http.state import ServerState

log = logging.getLogger(__name__)

# What is parsed in one go: bounds the requests that a flood of pipelined ones can turn into objects.
_SLICE_BYTES = 65536


class Connection(asyncio.Protocol):
    """Between reader and transport: `queue` holds the requests that the handler has, in the order they came.

    The head of `queue` is the only request that may write to the transport, so an answer that leaves in pieces
    needs no more than to stay at the head until its last piece. `held` are bytes that wait unparsed.
    """

    __slots__ = (
        "address", "dispatching", "ended", "held", "lingering", "lost", "paused", "queue", "reader", "since", "state",
        "transport", "unsent", "waiting", "writing_paused",
    )  # fmt: skip

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self.reader = RequestReader(state, self)
        self.queue: deque[Request] = deque()
        self.held: memoryview | None = None
        self.waiting: list[asyncio.Future[None]] = []
        self.address: tuple[str, int] | None = None
        self.lost = self.ended = self.lingering = False
        self.paused = self.writing_paused = self.dispatching = False
        self.since = state.now
        self.unsent = 0

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=self.state.limits.write_high_bytes)
        self.state.accepted += 1
        self.state.connections.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        self.lost = True
        self.reader.close()
        for request in self.queue:
            if request.stream is not None:
                request.stream.cut()
        self._wake()
        self.queue.clear()
        self.held = None
        self.state.connections.discard(self)
        if not self.state.connections and self.state.vacant is not None:
            self.state.vacant()

    def data_received(self, data: bytes) -> None:
        reader = self.reader
        if reader.deaf:
            return
        if self.paused or (len(data) > _SLICE_BYTES and reader.stream is None):
            self.held = memoryview(data if self.held is None else bytes(self.held) + data)
            self._advance()
            return
        reader.feed(data)
        parsed = reader.parsed
        if len(parsed) == 1 and not (self.queue or self.writing_paused or self.dispatching):
            # What nearly every client does: one request, and nothing that waits before it.
            self._dispatch(parsed.popleft())
        elif parsed:
            self._advance()
        if reader.stream is not None and reader.stream.full:
            self._pause()
        if reader.expecting:
            self._invite()

    def eof_received(self) -> bool:
        """The client has sent its last byte; it may still read, which TLS transports do not allow for."""
        if self.lingering or self.reader.stream is not None or not (self.queue or self.reader.parsed or self.held):
            return False  # A body that is half there will never be whole.
        self.ended = True
        return self.transport.get_extra_info("ssl_object") is None

    def pause_writing(self) -> None:
        self.writing_paused = True
        self.since = self.state.now
        self.unsent = self.transport.get_write_buffer_size()
        self._pause()

    def resume_writing(self) -> None:
        self.writing_paused = False
        self.since = self.state.now
        self._wake()
        self._advance()

    # What a request calls.

    def answered(self, request: Request) -> None:
        queue = self.queue
        if not queue or request is not queue[0]:
            return
        while queue and (answer := queue[0].answer) is not None:
            self._send(queue.popleft(), answer)
        if self.waiting:
            self._wake()
        self._went_on()

    @property
    def peer(self) -> tuple[str, int]:
        if self.address is None:
            self.address = (self.transport.get_extra_info("peername") or ("unknown", 0))[:2]
        return self.address

    def body_taken(self) -> None:
        if self.paused:
            self._advance()

    async def turn_of(self, request: Request) -> None:
        while not self.lost and (self.writing_paused or not self.queue or request is not self.queue[0]):
            if request not in self.queue:
                break
            future = self.state.loop.create_future()
            self.waiting.append(future)
            await future
        if self.lost or request not in self.queue:
            raise ConnectionResetError("the client has gone")

    def begin(self, request: Request, status: int, headers: bytes, length: int | None) -> None:
        if length is None and request.version == "1.0":
            request.keep_alive = False  # Its end is that of the connection.
        framing = self._last_or_not(request)
        if length is not None and status not in BODILESS:
            framing += b"content-length: %d\r\n" % length
        elif request.version != "1.0" and status not in BODILESS:
            framing += CHUNKED
            request.chunked = True
        self.transport.write(parted_head(status, headers, self.state.date, framing))

    def part(self, request: Request, data: bytes) -> None:
        if self.lost or not self.queue or request is not self.queue[0]:
            raise ConnectionResetError("the client has gone")
        self.since = self.state.now
        if data and request.method != b"HEAD":
            self.transport.write(chunk(data) if request.chunked else data)

    def end(self, request: Request) -> None:
        if self.lost or not self.queue or request is not self.queue[0]:
            return
        if request.chunked and request.method != b"HEAD":
            self.transport.write(LAST_CHUNK)
        self.queue.popleft()
        if request.unread:
            self._hear_no_more(request)
        if not request.keep_alive:
            self._finish()
            return
        while self.queue and (answer := self.queue[0].answer) is not None:
            self._send(self.queue.popleft(), answer)
        self._wake()
        self._went_on()

    # What the server calls.

    def unanswered(self) -> int:
        return 0 if self.lingering else len(self.queue) + len(self.reader.parsed)

    def close_if_idle(self) -> None:
        if not (self.lingering or self._is_busy() or self.reader.url):
            self._finish()

    def abort(self) -> None:
        self.transport.abort()

    def sweep(self, now: float) -> None:
        stream = self.reader.stream
        if stream is not None and not self.paused and now - self.reader.since > self.state.limits.body_timeout_s:
            self._time_out("no more of the body came")
            return
        if self.writing_paused or (self.lingering and self.transport.get_write_buffer_size()):
            self._sweep_writing(now - self.since)
        elif self.lingering:
            if now - self.since > self.state.limits.linger_s:
                self.abort()
        elif not self._is_busy():
            self._sweep_reading(now)

    def _sweep_writing(self, waited: float) -> None:
        unsent = self.transport.get_write_buffer_size()
        if unsent < self.unsent:
            self.unsent, self.since = unsent, self.state.now
        elif waited > self.state.limits.write_timeout_s:
            self.state.timed_out += 1
            self.abort()

    def _sweep_reading(self, now: float) -> None:
        limits, reader = self.state.limits, self.reader
        if not reader.url:
            if now - self.since > limits.idle_timeout_s:
                self.state.timed_out += 1
                self._finish()
            return
        waited = now - reader.since
        if reader.head is None:
            if waited > limits.header_timeout_s:
                self._time_out(f"the header did not arrive within {limits.header_timeout_s:g} s")
        elif waited > limits.body_timeout_s + reader.received / limits.min_body_bytes_per_s:
            self._time_out(f"the body came slower than {limits.min_body_bytes_per_s} bytes/s")

    def _time_out(self, message: str) -> None:
        self.state.timed_out += 1
        self.reader.refuse(408, message)
        self._advance()

    # Requests in, answers out.

    def _is_busy(self) -> bool:
        return bool(self.queue or self.reader.parsed or self.held)

    def _advance(self) -> None:
        """Hand to the handler, and parse, what is there, as far as the limits allow."""
        if self.dispatching:
            return
        self.dispatching = True
        limit, queue, reader = self.state.limits.max_pipelined, self.queue, self.reader
        parsed = reader.parsed
        try:
            while len(queue) < limit and not (self.writing_paused or reader.choked):
                if parsed:
                    self._dispatch(parsed.popleft())
                elif self.held is None or reader.deaf:
                    break
                else:
                    self._parse_held(self.held)
        finally:
            self.dispatching = False
        if len(queue) >= limit or self.writing_paused or reader.choked:
            self._pause()
        elif self.paused:
            self._resume()
        if not queue:
            self._when_quiet()

    def _parse_held(self, held: memoryview) -> None:
        rest = held[_SLICE_BYTES:]
        self.held = rest if len(rest) else None
        self.reader.feed(held[:_SLICE_BYTES])

    def _dispatch(self, request: Request) -> None:
        self.queue.append(request)
        if request.answer is not None:
            self.answered(request)
            return
        self.state.requests += 1
        try:
            self.state.handler(request)
        except Exception:
            log.exception("the handler failed on %r %r", request.method, request.path)
            if request.answer is None:
                request.respond(500, error_body("the server failed on this request"))

    def _send(self, request: Request, answer: Answer) -> None:
        status, body, content_type, headers = answer
        state = self.state
        if request.stream is not None and request.unread:
            self._hear_no_more(request)
        headers += self._last_or_not(request)
        if status in BODILESS:
            self.transport.write(bodiless_answer(status, headers, state.date))
        else:
            head = state.heads.get((status, content_type)) or state.head(status, content_type)
            shown = b"" if request.method == b"HEAD" else body
            self.transport.write(b"%b%d\r\n%b\r\n%b" % (head, len(body), headers, shown))
        if not request.keep_alive:
            self._finish()

    def _last_or_not(self, request: Request) -> bytes:
        """Settle whether the connection ends with this answer, which begins; the line of its header that says so."""
        if self.state.draining and request.keep_alive:
            request.keep_alive = self._is_busy_behind(request) or bool(self.reader.url)
        if not request.keep_alive:
            return CLOSE
        return KEEP if request.version == "1.0" else b""

    def _is_busy_behind(self, request: Request) -> bool:
        others = len(self.queue) - (bool(self.queue) and self.queue[0] is request)
        return bool(others or self.reader.parsed or self.held)

    def _hear_no_more(self, request: Request) -> None:
        """The answer begins before the body has come: the rest of it is let go by, and then nothing follows."""
        request.keep_alive = False
        self.reader.deaf = self.reader.refused = True

    def _went_on(self) -> None:
        """Something was answered: read on where that had to wait."""
        self.since = self.state.now
        if self.dispatching:
            return
        if self.paused:
            self._advance()
        if not self.queue:
            self._when_quiet()

    def _wake(self) -> None:
        waiting, self.waiting = self.waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _when_quiet(self) -> None:
        """Every answer is sent: end what the client has ended, or ask for the body that it holds back."""
        if self.ended and not self._is_busy():
            self._finish()
        elif self.reader.expecting:
            self._invite()

    def _invite(self) -> None:
        # An interim answer must not overtake the answers to earlier requests; one that is streamed waits for its body.
        streamed = self.reader.streamed
        waits = not self._is_busy() or (streamed is not None and self.queue and self.queue[0] is streamed)
        if waits and not self.reader.deaf:
            self.reader.expecting = False
            self.transport.write(CONTINUE)

    def _finish(self) -> None:
        """Close once everything is written; let a client that still sends read its refusal first."""
        if self.lingering or self.lost:
            return
        self.lingering = True
        self.reader.deaf = True
        self.reader.parsed.clear()
        self.queue.clear()
        self.held = None
        self.since = self.state.now
        self.unsent = self.transport.get_write_buffer_size()
        if not self.reader.refused:
            self.transport.close()
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        # Closing with unread bytes makes the kernel send a reset, which can destroy the answer on its way.
        self._resume()

    def _pause(self) -> None:
        if not (self.paused or self.lost or self.transport.is_closing()):
            self.paused = True
            self.transport.pause_reading()

    def _resume(self) -> None:
        if self.paused and not self.transport.is_closing():
            self.paused = False
            self.reader.since = self.state.now
            self.transport.resume_reading()
