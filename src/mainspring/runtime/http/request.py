"""One request of a client, and the way to answer it."""

from __future__ import annotations

from typing import Protocol

from mainspring.runtime.http.answers import JSON

# Names and values in turns, as they came: one list for a header is cheaper than a pair for each field.
Fields = list[bytes]
# Status, body, content type, more header lines: kept until it is this request's turn. A tuple, for its price.
Answer = tuple[int, bytes, bytes, bytes]


class Channel(Protocol):
    """The connection that a request came by, as far as the request needs it."""

    lost: bool

    def answered(self, request: Request) -> None:
        """*request* has its answer: send it once all earlier ones are sent."""


class Request:
    """A whole request, body included; lives on the event loop's thread.

    `path` is raw and without the query; `query` is raw and without the question mark. `names` are the names of the
    header's fields as they came; requests of one connection with the same names share the tuple.
    """

    __slots__ = (
        "_by_name", "_channel", "answer", "body", "fields", "keep_alive", "method", "names", "path", "query", "version",
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

    def header(self, name: bytes) -> bytes | None:
        """The value of the header *name* (lower case), or None; repeated fields are joined by a comma."""
        if self._by_name is None:
            self._by_name = _by_lower_name(self.fields)
        return self._by_name.get(name)

    @property
    def closed(self) -> bool:
        """True once the client has gone: whatever is answered, nobody reads it."""
        return self._channel.lost

    def respond(self, status: int, body: bytes, content_type: bytes = JSON, headers: bytes = b"") -> None:
        """Answer, exactly once, on the loop's thread, now or at any later time.

        *headers* are ready `name: value` lines, each ending in CRLF. Answers to pipelined requests leave in the
        order of the requests. For a client that has gone this does nothing.
        """
        if self.answer is not None:
            raise RuntimeError(f"{self.method.decode()} {self.path.decode()} was answered twice; answer exactly once")
        self.answer = (status, body, content_type, headers)
        self._channel.answered(self)


def _by_lower_name(fields: Fields) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for raw, value in zip(fields[::2], fields[1::2], strict=True):
        name = raw.lower()
        found[name] = found[name] + b", " + value.strip() if name in found else value.strip()
    return found
