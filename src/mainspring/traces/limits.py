"""What traces may be called and hold, checked or cut before a transaction begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from mainspring.core.errors import InvalidData, InvalidRequest
from mainspring.traces.model import MAX_KEY_CHARS, MAX_PREVIEW_CHARS, MAX_VALUE_CHARS, Span

_MAX_ID_CHARS = 128
_INT64 = range(2**63)
T = TypeVar("T", str, str | None)


def check_id(id: str, what: str = "trace") -> str:
    """Give an id back; raises InvalidRequest for one that cannot be stored."""
    if not id or len(id) > _MAX_ID_CHARS or not id.isprintable():
        raise InvalidRequest(f"{id!r} cannot be the id of a {what}: expected 1 to {_MAX_ID_CHARS} printable characters")
    return id


def check_key(key: str) -> str:
    """Give the key of a tag back; raises InvalidRequest for one that is empty, too long or not printable."""
    if not key or len(key) > MAX_KEY_CHARS or not key.isprintable():
        raise InvalidRequest(
            f"{key!r} cannot be the key of a tag: expected 1 to {MAX_KEY_CHARS} printable characters", key=key
        )
    return key


def storable(text: T) -> T:
    """Replace what of a text cannot be stored: NUL on PostgreSQL, and halves of characters that JSON may hold."""
    if text is None or text.isascii():
        return text if text is None else text.replace("\0", "\ufffd")
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def check_ms(*times: int | None) -> None:
    """Raise InvalidRequest for milliseconds that do not fit in 64 bits."""
    for time in times:
        if time is not None and not -(2**63) <= time < 2**63:
            raise InvalidRequest(f"{time} milliseconds do not fit in 64 bits")


def cut(texts: Mapping[str, str]) -> dict[str, str]:
    """Give tags or metadata with values cut to the length that is kept; raises InvalidRequest for a wrong key."""
    return {check_key(key): storable(value[:MAX_VALUE_CHARS]) for key, value in texts.items()}


def preview(text: str | None) -> str | None:
    """Give the beginning of a request or response that is shown in lists."""
    if text is None or len(text) <= MAX_PREVIEW_CHARS:
        return storable(text)
    return storable(text[: MAX_PREVIEW_CHARS - 3]) + "..."


def check_span(span: Span) -> None:
    """Raise InvalidData for a span whose times cannot be stored."""
    if span.started_ns not in _INT64 or (span.ended_ns is not None and span.ended_ns not in _INT64):
        raise InvalidData(f"span {span.id}: times are nanoseconds since 1970 in 63 bits", span=span.id)
