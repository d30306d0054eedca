"""One request of a client, and the way to answer it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from mainspring.runtime.http.answers import JSON
from mainspring.runtime.http.streams import BodyStream, Taken

# Names and values in turns, as they came: one list for a header is cheaper than a pair for each field.
Fields = list[bytes]
# Status, body, content type, more header lines: kept until it is this request's turn. A tuple, for its price.
Answer = tuple[int, bytes, bytes, bytes]


class Channel(Taken, Protocol):
    """The connection that a request came by, as far as the request needs it."""

    lost: bool

    @property
    def peer(self) -> tuple[str, int]:
        """The address of the client."""

    def answered(self, request: Request) -> None:
        """*request* has its answer: send it once all earlier ones are sent."""

    async def turn_of(self, request: Request) -> None:
        """Return when *request* may write, and the client takes what is written; ConnectionResetError when it left."""

    def begin(self, request: Request, status: int, headers: bytes, length: int | None) -> None:
        """Write the head of an answer that comes in parts."""

    def part(self, request: Request, data: bytes) -> None:
        """Write a part of an answer."""

    def end(self, request: Request) -> None:
        """The answer is complete."""

    def abort(self) -> None:
        """Cut the connection at once; unsent bytes are lost."""


class Request:
    """A whole request, body included; lives on the event loop's thread.

    `path` is raw and without the query; `query` is raw and without the question mark. `names` are the names of the
    header's fields as they came; requests of one connection with the same names share the tuple. A request that is
    streamed has a `stream` instead of its `body`, and may be answered in parts. `places` tells where in `fields` the
    value of each name (lower case) is, unless a name comes twice.
    """

    __slots__ = (
        "_by_name", "_channel", "answer", "begun", "body", "chunked", "fields", "keep_alive", "method", "names", "path",
        "places", "query", "stream", "version",
    )  # fmt: skip

    def __init__(
        self,
        channel: Channel,
        method: bytes,
        target: bytes,
        fields: Fields,
        body: bytes,
        keep_alive: bool,
        version: str,
        names: tuple[bytes, ...],
        stream: BodyStream | None = None,
        places: Mapping[bytes, int] | None = None,
    ) -> None:
        self._channel = channel
        self.fields = fields
        self.names = names
        self._by_name: dict[bytes, bytes] | None = None
        self.method = method
        self.path, _, self.query = target.partition(b"?")
        self.body = body
        self.keep_alive = keep_alive
        self.version = version
        self.answer: Answer | None = None
        self.stream = stream
        self.places = places
        self.begun = self.chunked = False

    def header(self, name: bytes) -> bytes | None:
        """The value of the header *name* (lower case), or None; repeated fields are joined by a comma."""
        if self.places is not None:
            place = self.places.get(name)
            return None if place is None else self.fields[place].strip()
        if self._by_name is None:
            self._by_name = _by_lower_name(self.fields)
        return self._by_name.get(name)

    @property
    def closed(self) -> bool:
        """True once the client has gone: whatever is answered, nobody reads it."""
        return self._channel.lost

    @property
    def peer(self) -> tuple[str, int]:
        """The address of the client."""
        return self._channel.peer

    @property
    def unread(self) -> bool:
        """Whether some of the body is still to come."""
        return self.stream is not None and not self.stream.ended

    def respond(self, status: int, body: bytes, content_type: bytes = JSON, headers: bytes = b"") -> None:
        """Answer, exactly once, on the loop's thread, now or at any later time.

        *headers* are ready `name: value` lines, each ending in CRLF. Answers to pipelined requests leave in the
        order of the requests. For a client that has gone this does nothing.
        """
        if self.answer is not None or self.begun:
            raise RuntimeError(f"{self.method.decode()} {self.path.decode()} was answered twice; answer exactly once")
        self.answer = (status, body, content_type, headers)
        self._channel.answered(self)

    async def begin(self, status: int, headers: bytes, length: int | None) -> None:
        """Begin an answer that comes in parts, of *length* bytes in all, or of as many as come until `end`.

        *headers* are ready lines, without any of framing. Returns when it is this request's turn; raises
        ConnectionResetError for a client that has gone, as the other calls do.
        """
        await self._channel.turn_of(self)
        if self.answer is not None:
            raise ConnectionResetError("the request was refused while it was being answered")
        self.begun = True
        self._channel.begin(self, status, headers, length)

    async def send(self, data: bytes) -> None:
        """Send a part of the answer; returns when the client takes more."""
        self._channel.part(self, data)
        await self._channel.turn_of(self)

    def end(self) -> None:
        """The answer is complete: what waits behind it may be answered."""
        self._channel.end(self)

    def abort(self) -> None:
        """Cut the connection: the answer cannot be completed, and nobody may take it for whole."""
        self._channel.abort()


def _by_lower_name(fields: Fields) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for raw, value in zip(fields[::2], fields[1::2], strict=True):
        name = raw.lower()
        found[name] = found[name] + b", " + value.strip() if name in found else value.strip()
    return found
