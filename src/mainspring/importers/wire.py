"""Protocol buffers read without their schema, for files whose few fields are known by number.

The encoding is that of https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from mainspring.core.errors import Corrupt

Field = int | float | bytes
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_BITS = 70


def fields(data: bytes) -> Iterator[tuple[int, Field]]:
    """Give the number and the value of each field; 64 and 32 bits are given as floats. Raises Corrupt."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, value
        elif kind == _FIXED64 and at + 8 <= end:
            yield number, struct.unpack_from("<d", data, at)[0]
            at += 8
        elif kind == _FIXED32 and at + 4 <= end:
            yield number, struct.unpack_from("<f", data, at)[0]
            at += 4
        elif kind == _BYTES:
            size, at = _varint(data, at)
            if at + size > end:
                raise Corrupt(f"a field of {size} bytes begins {end - at} bytes before the end of its message")
            yield number, data[at : at + size]
            at += size
        else:
            raise Corrupt(f"field {number} has the encoding {kind}, or ends after its message")


def only(data: bytes, number: int) -> Field | None:
    """Give the last value of one field, None when it is not there."""
    found = None
    for name, value in fields(data):
        if name == number:
            found = value
    return found


def inner(data: bytes, number: int) -> bytes:
    """Give the message or text in one field, empty when it is not there."""
    found = only(data, number)
    return found if isinstance(found, bytes) else b""


def text(data: bytes, number: int) -> str:
    """Give the text in one field."""
    return inner(data, number).decode("utf-8", "replace")


def whole(data: bytes, number: int) -> int:
    """Give the whole number in one field, 0 when it is not there."""
    found = only(data, number)
    return found - (1 << 64) if isinstance(found, int) and found >= 1 << 63 else int(found or 0)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < _MOST_BITS:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
    raise Corrupt("a number does not end")
