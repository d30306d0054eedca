"""What a client may ask of the HTTP server: sizes, counts and patience, all bounded."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one server; every timeout is kept to within one sweep (a second, less if the timeouts are short)."""

    max_connections: int = 4096
    """Connections open at once; one more gets 503 with `Retry-After` and is closed."""
    max_pipelined: int = 64
    """Requests of one connection that may wait for an answer; the rest stays unread."""
    max_url_bytes: int = 8192
    max_header_bytes: int = 32768
    """Request target and header fields together, as sent."""
    max_headers: int = 100
    max_body_bytes: int = 32 * 1024 * 1024
    max_buffered_bytes: int = 256 * 1024 * 1024
    """Bodies of all connections that have arrived in part; beyond it a request gets 503 with `Retry-After`."""
    header_timeout_s: float = 10.0
    """From the first byte of a request to the end of its header."""
    body_timeout_s: float = 20.0
    """For a body to arrive, plus one second for each `min_body_bytes_per_s` that came."""
    min_body_bytes_per_s: int = 4096
    idle_timeout_s: float = 75.0
    """A connection with no request on the way is closed after this."""
    write_timeout_s: float = 20.0
    """A client that takes no byte of its answers for this long is cut off."""
    linger_s: float = 2.0
    """After a refusal the rest that the client sends is discarded this long, so that it can read the answer."""
    write_high_bytes: int = 256 * 1024
    """Unsent bytes of one connection beyond which nothing more is read from it."""
