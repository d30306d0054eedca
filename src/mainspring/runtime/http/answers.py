"""Bytes of an HTTP/1.1 answer: status line, framing and the JSON body of a refusal."""

from __future__ import annotations

import time
from email.utils import formatdate
from http import HTTPStatus

import msgspec

JSON = b"application/json"
CLOSE = b"connection: close\r\n"
KEEP = b"connection: keep-alive\r\n"
RETRY = b"retry-after: 1\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_STATUS_LINES = {status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus}
_BODILESS = frozenset((204, 304))


def encode_answer(
    status: int, content_type: bytes, headers: bytes, body: bytes, *, date: bytes, framing: bytes, head_only: bool
) -> bytes:
    """One whole answer; *headers*, *date* and *framing* are ready header lines, each ending in CRLF."""
    line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d Unknown\r\n" % status
    if status in _BODILESS:
        return b"%b%b%b%b\r\n" % (line, date, framing, headers)
    return b"%bcontent-type: %b\r\ncontent-length: %d\r\n%b%b%b\r\n%b" % (
        line, content_type, len(body), date, framing, headers, b"" if head_only else body,
    )  # fmt: skip


def date_line() -> bytes:
    """The `Date` header line for this second (RFC 9110, 6.6.1)."""
    return b"date: %b\r\n" % formatdate(time.time(), usegmt=True).encode()


def error_body(message: str) -> bytes:
    """The JSON document that tells why a request was refused."""
    return msgspec.json.encode({"error": message})
