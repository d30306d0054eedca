"""From bytes of one client to whole requests: llhttp parses, and what breaks a rule becomes a refusal."""

from __future__ import annotations

from collections import deque

import httptools

from mainspring.runtime.http.answers import JSON, RETRY, error_body
from mainspring.runtime.http.request import Channel, Fields, Request
from mainspring.runtime.http.state import ServerState
from mainspring.runtime.http.streams import BodyStream

# A chunk of one byte takes this many bytes more on the wire, plus some room.
_CHUNK_OVERHEAD = 8
_OFFER = (b"upgrade", b"connection", b"http2-settings")


class Refusal(Exception):
    """The request breaks a rule: answer *status* with *message* and close."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class RequestReader:
    """Fills `parsed` with the requests of one connection, in order.

    A refusal is a request that carries its answer already, and the last one. `deaf` says that nothing more is
    understood: the client asked to close, or broke a rule. While `url` is not empty a request is on its way; its
    header is complete once `head` is set. `expecting`: the client waits for `100 Continue`.
    """

    __slots__ = (
        "body", "buffer", "channel", "chunk", "deaf", "expecting", "fields", "framed", "has_connection", "has_host",
        "head", "head_bytes", "names", "overhead", "parsed", "parser", "places", "received", "refused", "since",
        "state", "stream", "streamed", "url",
    )  # fmt: skip

    def __init__(self, state: ServerState, channel: Channel) -> None:
        self.state = state
        self.channel = channel
        self.parser = httptools.HttpRequestParser(self)
        self.parsed: deque[Request] = deque()
        self.deaf = self.refused = self.expecting = False
        self.since = state.now
        self.names: tuple[bytes, ...] = ()
        self.places: dict[bytes, int] | None = None
        self.has_host = self.has_connection = False
        self.url = self.body = b""
        self.fields: Fields = []
        self.head: Fields | None = None
        self.buffer: bytearray | None = None
        self.stream: BodyStream | None = None
        self.streamed: Request | None = None
        self.framed = False
        self.chunk = self.head_bytes = self.received = self.overhead = 0

    def feed(self, data: bytes | memoryview) -> None:
        """Parse *data*, the next bytes of the client. At most one such piece is parsed beyond what limits allow."""
        self.chunk = len(data)
        before = self.received
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._decline_upgrade(data[upgrade.args[0] :])
                continue
            except httptools.HttpParserCallbackError as failure:
                if not isinstance(failure.__context__, Refusal):
                    raise
                self.refuse(failure.__context__.status, failure.__context__.message)
            except httptools.HttpParserError as broken:
                # After `Connection: close` whatever follows is not a request.
                if not self.deaf:
                    self.refuse(400, f"not a valid HTTP/1.1 request: {broken}")
            break
        if self.url and not self.deaf:
            try:
                self._check_partial(len(data), len(data) - self.received + before)
            except Refusal as refusal:
                self.refuse(refusal.status, refusal.message)

    def refuse(self, status: int, message: str) -> None:
        """Say no, after the answers that are still due, and listen no more."""
        self.state.refused += 1
        self.deaf = self.refused = True
        self.url = b""
        self._drop_buffer()
        if self.streamed is not None:
            self._refuse_streamed(self.streamed, status, message)
            return
        request = Request(self.channel, b"", b"", [], b"", False, "1.1", ())
        request.answer = (status, error_body(message), JSON, RETRY if status == 503 else b"")
        self.parsed.append(request)

    @property
    def choked(self) -> bool:
        """Whether a body that is read while it arrives is not read fast enough."""
        return self.stream is not None and self.stream.full

    def close(self) -> None:
        """Forget everything; the parser holds methods of this object, and without it no cycle is left."""
        self.deaf = True
        self._drop_buffer()
        if self.stream is not None:
            self.stream.cut()
            self.stream = self.streamed = None
        self.parsed.clear()
        del self.parser

    # What llhttp calls; an exception here ends the parsing.

    def on_url(self, part: bytes) -> None:
        if self.url:
            self.url += part
            return
        self.url = part
        self.since = self.state.now
        # Bytes before this request in the same chunk are not part of its header.
        self.head_bytes = -self.chunk if self.parsed else 0

    def on_header(self, name: bytes, value: bytes) -> None:
        fields = self.fields
        fields.append(name)
        fields.append(value)

    def on_headers_complete(self) -> None:
        # Fields that come later are trailers of a chunked body: they never mix with the header.
        self.head = fields = self.fields
        self.fields = []
        limits = self.state.limits
        if self.head_bytes or self.chunk > limits.max_header_bytes or len(self.url) > limits.max_url_bytes:
            self._check_sizes(len(self.url) + sum(map(len, fields)) + 2 * len(fields))
        if len(fields) > 2 * limits.max_headers:
            raise Refusal(431, f"the request has {len(fields) // 2} header fields; at most {limits.max_headers} may be")
        streams = self.state.streams
        if streams is not None and streams(self.url):
            self._begin_stream(fields)

    def on_body(self, part: bytes) -> None:
        limits = self.state.limits
        self.received += len(part)
        if self.stream is not None:
            self.stream.feed(part)
            self.since = self.state.now
            return
        if self.received > limits.max_body_bytes:
            raise Refusal(413, f"the body is larger than {limits.max_body_bytes} bytes; send less at once")
        if not self.body and self.buffer is None:
            self.body = part
            return
        if self.buffer is None:
            self.buffer = bytearray(self.body)
            self.state.buffered_bytes += len(self.body)
            self.body = b""
        # One buffer, not a list of parts: a body in chunks of one byte must not cost fifty times its size.
        self.buffer += part
        self.state.buffered_bytes += len(part)
        if self.state.buffered_bytes > limits.max_buffered_bytes:
            raise Refusal(503, "too many bodies are being received; try again later")

    def on_message_complete(self) -> None:
        if self.stream is not None and self.streamed is not None:
            self.stream.end()
            keep_alive = self.streamed.keep_alive
            self.stream = self.streamed = None
        else:
            request = self._request(self.head or [])
            keep_alive = request.keep_alive
            self.parsed.append(request)
        self.url = self.body = b""
        self.head = None
        self.received = self.overhead = 0
        self.framed = self.expecting = False
        if self.fields:
            self.fields = []
        if not keep_alive:
            self.deaf = True

    def _request(self, fields: Fields, stream: BodyStream | None = None) -> Request:
        parser = self.parser
        keep_alive = parser.should_keep_alive()
        names = tuple(fields[::2])
        # A client sends the same names again and again: they are looked at once.
        if names != self.names:
            self._look_at(names)
        # No other request can be anything else than HTTP/1.1, and asking the parser is dear.
        version = parser.get_http_version() if self.has_connection or not keep_alive else "1.1"
        if version != "1.1":
            _check_version(version, names)
        elif not self.has_host:
            raise Refusal(400, "an HTTP/1.1 request needs exactly one Host header")
        if self.buffer is not None:
            self.body = bytes(self.buffer)
            self._drop_buffer()
        target = self.url if self.url[0] == _SLASH else _origin_form(self.url)
        method = parser.get_method()
        return Request(
            self.channel, method, target, fields, self.body, keep_alive, version, self.names, stream, self.places
        )

    def _begin_stream(self, fields: Fields) -> None:
        """Hand the request on before its body has come."""
        if any(name.lower() == b"upgrade" for name in fields[::2]):
            return  # It comes again, without the offer.
        self.stream = BodyStream(self.channel)
        self.streamed = self._request(fields, self.stream)
        self.parsed.append(self.streamed)

    def _refuse_streamed(self, request: Request, status: int, message: str) -> None:
        if self.stream is not None:
            self.stream.cut()
        self.stream = self.streamed = None
        request.keep_alive = False
        if request.begun:  # Half of an answer has gone out: that it ends early is all that can be said.
            request.abort()
        elif request.answer is None:
            request.answer = (status, error_body(message), JSON, RETRY if status == 503 else b"")
            self.channel.answered(request)

    # Rules.

    def _look_at(self, names: tuple[bytes, ...]) -> None:
        lower = [name.lower() for name in names]
        self.names = names
        self.places = {name: 2 * at + 1 for at, name in enumerate(lower)}
        if len(self.places) < len(lower):
            self.places = None
        self.has_host = lower.count(b"host") == 1
        self.has_connection = b"connection" in lower

    def _check_sizes(self, size: int) -> None:
        limits = self.state.limits
        if len(self.url) > limits.max_url_bytes:
            raise Refusal(414, f"the request target is longer than {limits.max_url_bytes} bytes")
        if size > limits.max_header_bytes:
            raise Refusal(431, f"the request header is larger than {limits.max_header_bytes} bytes")

    def _check_partial(self, size: int, overhead: int) -> None:
        """Bound what is on its way; *overhead* of the *size* bytes that came last were not body."""
        if self.head is None:
            self.head_bytes += size
            self._check_sizes(self.head_bytes)
            return
        if not self.framed:
            self.framed = True
            self._look_ahead(self.head)
            return
        # Chunk sizes, chunk extensions and trailers are no body, and nothing else bounds them.
        self.overhead += overhead
        if self.overhead > self.state.limits.max_header_bytes + _CHUNK_OVERHEAD * self.received:
            raise Refusal(431, "chunk extensions or trailers are larger than a header may be")

    def _look_ahead(self, fields: Fields) -> None:
        """Refuse a body that is still to come while that costs nothing, and note if the client waits to be asked."""
        allowed = self.state.limits.max_body_bytes
        for raw, value in zip(fields[::2], fields[1::2], strict=True):
            name = raw.lower()
            if name == b"content-length" and int(value) > allowed and self.stream is None:
                raise Refusal(413, f"the body of {int(value)} bytes is larger than {allowed}; send less at once")
            if name == b"expect":
                if value.strip().lower() != b"100-continue":
                    raise Refusal(417, "the only expectation that can be met is 100-continue")
                self.expecting = not self.received

    def _decline_upgrade(self, rest: bytes | memoryview) -> bytes:
        """What to parse after a request that offered another protocol: an offer may be ignored.

        llhttp stops at the end of such a header and takes the request for one without a body. A fresh parser gets
        the same request without the offer, and then the *rest*, so that its body is read as a body.
        """
        request = self.parsed.pop()
        self.parser = httptools.HttpRequestParser(self)
        self.deaf = False
        if request.method == b"CONNECT":
            self.refuse(405, "CONNECT is not served here")
            return b""
        target = request.path + (b"?" + request.query if request.query else b"")
        fields = zip(request.fields[::2], request.fields[1::2], strict=True)
        lines = b"".join(b"%b: %b\r\n" % field for field in fields if field[0].lower() not in _OFFER)
        return b"%b %b HTTP/1.1\r\n%b\r\n%b" % (request.method, target, lines, bytes(rest))

    def _drop_buffer(self) -> None:
        if self.buffer is not None:
            self.state.buffered_bytes -= len(self.buffer)
            self.buffer = None


_SLASH = ord("/")


def _check_version(version: str, names: tuple[bytes, ...]) -> None:
    if version != "1.0":
        raise Refusal(505, f"HTTP/{version} is not spoken here; use HTTP/1.1")
    # RFC 9112, 6.1: an HTTP/1.0 hop does not know chunks, so the two ends may disagree on where the body stops.
    if any(name.lower() == b"transfer-encoding" for name in names):
        raise Refusal(400, "an HTTP/1.0 request cannot carry Transfer-Encoding")


def _origin_form(url: bytes) -> bytes:
    """The target as path and query; a proxy may send the whole URL (RFC 9112, 3.2.2)."""
    if b"://" not in url:
        return url
    try:
        parsed = httptools.parse_url(url)
    except httptools.HttpParserInvalidURLError:
        raise Refusal(400, "the request target is not a valid URL") from None
    path = bytes(parsed.path or b"/")
    return path if parsed.query is None else path + b"?" + bytes(parsed.query)
