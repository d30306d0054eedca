"""One client connection: llhttp parses, handlers answer in any order, answers leave in the order of the requests."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import cast

import httptools

from mainspring.runtime.http.answers import CLOSE, CONTINUE, KEEP, RETRY, encode_answer, error_body
from mainspring.runtime.http.request import Answer, Fields, Request
from mainspring.runtime.http.state import ServerState

log = logging.getLogger(__name__)

# What is parsed in one go: bounds the requests that a flood of pipelined ones can turn into objects.
_SLICE_BYTES = 65536
# A chunk of one byte takes this many bytes more on the wire, plus some room.
_CHUNK_OVERHEAD = 8
_OFFER = (b"upgrade", b"connection", b"http2-settings")


class Refusal(Exception):
    """The request breaks a rule: answer *status* with *message* and close."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Connection(asyncio.Protocol):
    """Between parser and handler: `parsed` waits for the handler, `queue` for answers; both in order.

    The head of `queue` is the only request that may write to the transport. `deaf` says that nothing more is
    understood from this client: it asked to close, broke a rule, or ended its side.
    """

    __slots__ = (
        "body", "buffer", "chunk", "deaf", "dispatching", "ended", "expecting", "fields", "framed", "head",
        "head_bytes", "held", "lingering", "lost", "overhead", "parsed", "parser", "paused", "queue", "received",
        "refused", "since", "state", "transport", "unsent", "url", "writing_paused",
    )  # fmt: skip

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self.parser = httptools.HttpRequestParser(self)
        self.queue: deque[Request] = deque()
        self.parsed: deque[Request] = deque()
        self.held: memoryview | None = None
        self.url = b""
        self.fields: Fields = []
        self.head: Fields | None = None
        self.body = b""
        self.buffer: bytearray | None = None
        self.chunk = self.head_bytes = self.received = self.overhead = self.unsent = 0
        self.lost = self.deaf = self.ended = self.refused = self.lingering = False
        self.paused = self.writing_paused = self.dispatching = self.framed = self.expecting = False
        self.since = state.now

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.state.accepted += 1
        self.state.connections.add(self)
        self.transport.set_write_buffer_limits(high=self.state.limits.write_high_bytes)

    def connection_lost(self, _: Exception | None) -> None:
        self.lost = self.deaf = True
        self._drop_buffer()
        self.parsed.clear()
        self.queue.clear()
        self.held = None
        # The parser holds methods of this object: without it no cycle is left for the collector.
        del self.parser
        self.state.connections.discard(self)
        if not self.state.connections and self.state.vacant is not None:
            self.state.vacant()

    def data_received(self, data: bytes) -> None:
        if self.deaf:
            return
        if self.paused or len(data) > _SLICE_BYTES:
            self.held = memoryview(data if self.held is None else bytes(self.held) + data)
            self._advance()
            return
        self._parse(data)
        if self.parsed:
            self._advance()

    def eof_received(self) -> bool:
        """The client has sent its last byte; it may still read."""
        if not (self.queue or self.parsed or self.held) or self.lingering:
            return False
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
        self._advance()

    # What the parser calls; an exception here ends the parsing.

    def on_url(self, part: bytes) -> None:
        if self.url:
            self.url += part
            return
        self.url = part
        self.since = self.state.now
        # Bytes before this request in the same chunk are not part of its header.
        self.head_bytes = -self.chunk if self.parsed else 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        # Fields that come later are trailers of a chunked body: they never mix with the header.
        self.head = fields = self.fields
        self.fields = []
        limits = self.state.limits
        if self.head_bytes or self.chunk > limits.max_header_bytes or len(self.url) > limits.max_url_bytes:
            self._check_sizes(len(self.url) + sum(len(name) + len(value) + 4 for name, value in fields))
        if len(fields) > limits.max_headers:
            raise Refusal(431, f"the request has {len(fields)} header fields; at most {limits.max_headers} are read")

    def on_body(self, part: bytes) -> None:
        self.received += len(part)
        if self.received > self.state.limits.max_body_bytes:
            raise Refusal(413, f"the body is larger than {self.state.limits.max_body_bytes} bytes; send less at once")
        if not self.body and self.buffer is None:
            self.body = part
            return
        if self.buffer is None:
            self.buffer = bytearray(self.body)
            self.state.buffered_bytes += len(self.body)
            self.body = b""
        self.buffer += part
        self.state.buffered_bytes += len(part)
        if self.state.buffered_bytes > self.state.limits.max_buffered_bytes:
            raise Refusal(503, "too many bodies are being received; try again later")

    def on_message_complete(self) -> None:
        parser, fields = self.parser, self.head or []
        version = parser.get_http_version()
        if version != "1.1":
            _check_version(version, fields)
        elif [name.lower() for name, _ in fields if len(name) == 4].count(b"host") != 1:
            raise Refusal(400, "an HTTP/1.1 request needs exactly one Host header")
        if self.buffer is not None:
            self.body = bytes(self.buffer)
            self._drop_buffer()
        keep_alive = parser.should_keep_alive()
        self.parsed.append(
            Request(self, parser.get_method(), _origin_form(self.url), fields, self.body, keep_alive, version)
        )
        self.url = self.body = b""
        self.head = None
        self.received = self.overhead = 0
        self.framed = False
        self.since = self.state.now
        if self.fields:
            self.fields = []
        if not keep_alive:
            self.deaf = True

    # What a request calls.

    def answered(self, request: Request) -> None:
        queue = self.queue
        if self.lost or request is not queue[0]:
            return
        while queue and (answer := queue[0].answer) is not None:
            self._send(queue.popleft(), answer)
        self.since = self.state.now
        if self.expecting and not queue and not self.parsed and not self.deaf:
            self.expecting = False
            self.transport.write(CONTINUE)
        if self.paused and not self.dispatching:
            self._advance()
        elif self.ended and not queue and not self.parsed:
            self._finish()

    # What the server calls.

    def unanswered(self) -> int:
        return 0 if self.lingering else len(self.queue) + len(self.parsed)

    def close_if_idle(self) -> None:
        if not (self.queue or self.parsed or self.held or self.url):
            self._finish()

    def abort(self) -> None:
        self.transport.abort()

    def sweep(self, now: float) -> None:
        limits, waited = self.state.limits, now - self.since
        if self.writing_paused or (self.lingering and self.transport.get_write_buffer_size()):
            self._sweep_writing(waited)
        elif self.lingering:
            if waited > limits.linger_s:
                self.abort()
        elif self.queue or self.parsed:
            return
        elif not self.url:
            if waited > limits.idle_timeout_s:
                self._time_out(None)
        elif self.head is None:
            if waited > limits.header_timeout_s:
                self._time_out(f"the header did not arrive within {limits.header_timeout_s:g} s")
        elif waited > limits.body_timeout_s + self.received / limits.min_body_bytes_per_s:
            self._time_out(f"the body came slower than {limits.min_body_bytes_per_s} bytes/s")

    # Parsing.

    def _parse(self, data: bytes | memoryview) -> None:
        self.chunk = len(data)
        before = self.received
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade(data, upgrade.args[0])
        except httptools.HttpParserCallbackError as failure:
            if not isinstance(failure.__context__, Refusal):
                raise
            self._refuse(failure.__context__.status, failure.__context__.message)
        except httptools.HttpParserError as broken:
            # After `Connection: close` whatever follows is not a request.
            if not self.deaf:
                self._refuse(400, f"not a valid HTTP/1.1 request: {broken}")
        if self.url and not self.deaf:
            try:
                self._check_partial(len(data), len(data) - self.received + before)
            except Refusal as refusal:
                self._refuse(refusal.status, refusal.message)

    def _check_partial(self, size: int, overhead: int) -> None:
        limits = self.state.limits
        if self.head is None:
            self.head_bytes += size
            self._check_sizes(max(self.head_bytes, len(self.url)))
            return
        if not self.framed:
            self.framed = True
            self._expect(self.head)
            return
        # Chunk sizes, chunk extensions and trailers are no body, and nothing else bounds them.
        self.overhead += overhead
        if self.overhead > limits.max_header_bytes + _CHUNK_OVERHEAD * self.received:
            raise Refusal(431, "chunk extensions or trailers are larger than the header may be")

    def _check_sizes(self, size: int) -> None:
        limits = self.state.limits
        if len(self.url) > limits.max_url_bytes:
            raise Refusal(414, f"the request target is longer than {limits.max_url_bytes} bytes")
        if size > limits.max_header_bytes:
            raise Refusal(431, f"the request header is larger than {limits.max_header_bytes} bytes")

    def _expect(self, fields: Fields) -> None:
        """Answer for a body that is still to come: refuse it while it costs nothing, or ask for it."""
        for raw, value in fields:
            name = raw.lower()
            if name == b"content-length" and int(value) > self.state.limits.max_body_bytes:
                allowed = self.state.limits.max_body_bytes
                raise Refusal(413, f"the body of {int(value)} bytes is larger than {allowed}; send less at once")
        expect = [value.lower() for name, value in fields if name.lower() == b"expect"]
        if not expect:
            return
        if expect != [b"100-continue"]:
            raise Refusal(417, "the only expectation that can be met is 100-continue")
        if self.received:
            return
        # An interim answer must not overtake the answers to earlier requests.
        self.expecting = bool(self.queue or self.parsed)
        if not self.expecting:
            self.transport.write(CONTINUE)

    def _decline_upgrade(self, data: bytes | memoryview, offset: int) -> None:
        """Go on in HTTP/1.1 after a request that offered another protocol: the offer may be ignored.

        llhttp stops at the end of such a header and takes the request for one without a body. A fresh parser is given
        the same request without the offer, so that the body is read and the next request starts where it should.
        """
        request = self.parsed.pop()
        if request.method == b"CONNECT":
            self._refuse(405, "CONNECT is not served here")
            return
        target = request.path + (b"?" + request.query if request.query else b"")
        kept = [(name, value) for name, value in request.fields if name.lower() not in _OFFER]
        lines = b"".join(b"%b: %b\r\n" % field for field in kept)
        self.deaf = False
        self.parser = httptools.HttpRequestParser(self)
        self._parse(b"%b %b HTTP/1.1\r\n%b\r\n" % (request.method, target, lines))
        self._parse(data[offset:])

    # Dispatching.

    def _advance(self) -> None:
        """Hand to the handler, and parse, what is there, as far as the limits allow."""
        if self.dispatching:
            return
        self.dispatching = True
        limit, queue, parsed = self.state.limits.max_pipelined, self.queue, self.parsed
        try:
            while len(queue) < limit and not self.writing_paused and not self.lost:
                if parsed:
                    self._dispatch(parsed.popleft())
                elif self.held is None or self.deaf:
                    break
                else:
                    part, rest = self.held[:_SLICE_BYTES], self.held[_SLICE_BYTES:]
                    self.held = rest if len(rest) else None
                    self._parse(part)
        finally:
            self.dispatching = False
        if len(queue) >= limit or self.writing_paused:
            self._pause()
        elif self.paused:
            self._resume()

    def _dispatch(self, request: Request) -> None:
        self.queue.append(request)
        if request.answer is not None:
            self.answered(request)
            return
        self.state.requests += 1
        try:
            self.state.handler(request)
        except Exception:
            log.exception("the handler failed on %s %s", request.method.decode(), request.path.decode("latin-1"))
            if request.answer is None:
                request.respond(500, error_body("the server failed on this request"))

    def _send(self, request: Request, answer: Answer) -> None:
        last = not request.keep_alive
        if not last and (self.state.draining or self.ended):
            last = not (self.queue or self.parsed or self.held or self.url)
        framing = CLOSE if last else KEEP if request.version == "1.0" else b""
        self.transport.write(
            encode_answer(
                answer.status, answer.content_type, answer.headers, answer.body,
                date=self.state.date, framing=framing, head_only=request.method == b"HEAD",
            )
        )  # fmt: skip
        if last:
            self._finish()

    def _refuse(self, status: int, message: str) -> None:
        """Say no, after the answers that are still due, and listen no more."""
        self.state.refused += 1
        self.deaf = self.refused = True
        self.url = b""
        self._drop_buffer()
        request = Request(self, b"", b"", [], b"", False, "1.1")
        request.answer = Answer(status, error_body(message), headers=RETRY if status == 503 else b"")
        self.parsed.append(request)

    def _finish(self) -> None:
        """Close once everything is written; let a client that still sends read its refusal first."""
        self.deaf = True
        self.held = None
        self.parsed.clear()
        if not self.refused:
            self.transport.close()
        elif self.transport.can_write_eof():
            self.transport.write_eof()
        self.lingering = True
        self.since = self.state.now
        self.unsent = self.transport.get_write_buffer_size()
        self._resume()

    def _sweep_writing(self, waited: float) -> None:
        unsent = self.transport.get_write_buffer_size()
        if unsent < self.unsent:
            self.unsent, self.since = unsent, self.state.now
        elif waited > self.state.limits.write_timeout_s:
            self.state.timed_out += 1
            self.abort()

    def _time_out(self, message: str | None) -> None:
        self.state.timed_out += 1
        if message is None:
            self._finish()
            return
        self._refuse(408, message)
        self._advance()

    def _pause(self) -> None:
        if not self.paused and not self.lost:
            self.paused = True
            self.transport.pause_reading()

    def _resume(self) -> None:
        if self.paused and not self.transport.is_closing():
            self.paused = False
            self.transport.resume_reading()

    def _drop_buffer(self) -> None:
        if self.buffer is not None:
            self.state.buffered_bytes -= len(self.buffer)
            self.buffer = None


def _check_version(version: str, fields: Fields) -> None:
    if version != "1.0":
        raise Refusal(505, f"HTTP/{version} is not spoken here; use HTTP/1.1")
    # RFC 9112, 6.1: an HTTP/1.0 hop does not know chunks, so the two ends may disagree on where the body stops.
    if any(name.lower() == b"transfer-encoding" for name, _ in fields):
        raise Refusal(400, "an HTTP/1.0 request cannot carry Transfer-Encoding")


def _origin_form(url: bytes) -> bytes:
    """The target as path and query; a proxy may send the whole URL (RFC 9112, 3.2.2)."""
    if url[:1] == b"/" or b"://" not in url:
        return url
    parsed = httptools.parse_url(url)
    path = parsed.path or b"/"
    return path if parsed.query is None else path + b"?" + parsed.query
