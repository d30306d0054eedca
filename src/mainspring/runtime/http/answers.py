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
CHUNKED = b"transfer-encoding: chunked\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_STATUS_LINES = {status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus}
BODILESS = frozenset((204, 304))
"""The statuses whose answers carry no body at all (RFC 9110, 6.4.1)."""


def answer_head(status: int, content_type: bytes, date: bytes) -> bytes:
    """The beginning of every answer with this status and type, up to the number of the `content-length`."""
    return b"%b%bcontent-type: %b\r\ncontent-length: " % (_status_line(status), date, content_type)


def bodiless_answer(status: int, headers: bytes, date: bytes) -> bytes:
    """One whole answer of a status that has no body; *headers* and *date* are lines that end in CRLF."""
    return b"%b%b%b\r\n" % (_status_line(status), date, headers)


def parted_head(status: int, headers: bytes, date: bytes, framing: bytes) -> bytes:
    """The head of an answer that comes in parts; all but the status are lines that end in CRLF."""
    return b"%b%b%b%b\r\n" % (_status_line(status), date, headers, framing)


def chunk(data: bytes) -> bytes:
    """One part of a body whose length nobody knew (RFC 9112, 7.1); an empty one would end it."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


LAST_CHUNK = b"0\r\n\r\n"


def _status_line(status: int) -> bytes:
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d Unknown\r\n" % status


def date_line() -> bytes:
    """The `Date` header line for this second (RFC 9110, 6.6.1)."""
    return b"date: %b\r\n" % formatdate(time.time(), usegmt=True).encode()


def error_body(message: str) -> bytes:
    """The JSON document that tells why a request was refused."""
    return msgspec.json.encode({"error": message})
