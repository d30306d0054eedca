"""Pages: how many rows one may have, and its token, which is its last row and opaque to callers."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.tracking.model import MAX_PAGE

T = TypeVar("T")


def encode(last: Sequence[int | str]) -> str:
    """Give the token of the page that begins after *last*."""
    return base64.urlsafe_b64encode(msgspec.json.encode(list(last))).decode()


def decode(page: str, type: type[T]) -> T:
    """Read a token; raises InvalidRequest for one that was not made by `encode` of such a row."""
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(page), type=type)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise InvalidRequest("the page does not belong to this call: hand back next_page as it was given") from None


def bounded(limit: int, most: int = MAX_PAGE) -> int:
    """Give *limit* back; raises InvalidRequest when a page cannot have so many rows."""
    if not 1 <= limit <= most:
        raise InvalidRequest(f"limit is {limit}, expected 1 to {most}", limit=limit)
    return limit
