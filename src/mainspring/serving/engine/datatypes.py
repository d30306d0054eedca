"""The datatypes of the Open Inference Protocol: their width, their range, and how they lie in bytes."""

from __future__ import annotations

import struct
from typing import Any, Literal

import msgspec
import numpy as np

from mainspring.core.errors import InvalidRequest

Family = Literal["real", "whole", "truth", "text"]


class Datatype(msgspec.Struct, frozen=True):
    """One datatype; ``low`` and ``high`` are the range of a whole number, ``dtype`` is little-endian."""

    name: str
    family: Family
    dtype: str | None
    low: int = 0
    high: int = 0


def _whole(name: str, dtype: str) -> Datatype:
    info = np.iinfo(np.dtype(dtype))
    return Datatype(name, "whole", dtype, int(info.min), int(info.max))


DATATYPES = {
    kind.name: kind
    for kind in (
        Datatype("BOOL", "truth", "?"),
        *(_whole(f"INT{8 * size}", f"<i{size}") for size in (1, 2, 4, 8)),
        *(_whole(f"UINT{8 * size}", f"<u{size}") for size in (1, 2, 4, 8)),
        *(Datatype(f"FP{8 * size}", "real", f"<f{size}") for size in (2, 4, 8)),
        Datatype("BYTES", "text", None),
    )
}

_LENGTH = struct.Struct("<I")


def datatype(name: str, tensor: str) -> Datatype:
    """Find the datatype of an input; raises InvalidRequest when it is none of the protocol's."""
    try:
        return DATATYPES[name]
    except KeyError:
        raise InvalidRequest(
            f"input {tensor!r} has datatype {name!r}; expected one of {', '.join(DATATYPES)}", column=tensor
        ) from None


def from_bytes(kind: Datatype, data: memoryview, count: int, tensor: str) -> Any:
    """Read *count* elements of raw tensor bytes: an array, or a list of str for BYTES.

    Raises InvalidRequest when the bytes do not hold exactly that many elements.
    """
    if kind.dtype is None:
        return _texts(data, count, tensor)
    wanted = count * np.dtype(kind.dtype).itemsize
    if len(data) != wanted:
        raise InvalidRequest(
            f"input {tensor!r} came with {len(data)} bytes; expected {wanted} for {count} elements of {kind.name}",
            column=tensor,
        )
    return np.frombuffer(data, dtype=kind.dtype)


def _texts(data: memoryview, count: int, tensor: str) -> list[str]:
    found: list[str] = []
    at = 0
    while at < len(data) and len(found) < count:
        if at + 4 > len(data):
            break
        (length,) = _LENGTH.unpack_from(data, at)
        if at + 4 + length > len(data):
            break
        found.append(_text(bytes(data[at + 4 : at + 4 + length]), tensor))
        at += 4 + length
    if at != len(data) or len(found) != count:
        raise InvalidRequest(
            f"input {tensor!r} is not {count} BYTES elements, each a 4-byte little-endian length and then its bytes; "
            f"{len(found)} could be read from {len(data)} bytes",
            column=tensor,
        )
    return found


def _text(data: bytes, tensor: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise InvalidRequest(
            f"input {tensor!r} holds bytes that are not UTF-8 text: {data[:20]!r}", column=tensor
        ) from None


def to_bytes(kind: Datatype, data: list[Any]) -> bytes:
    """Give the raw tensor bytes of a flat list of elements."""
    if kind.dtype is None:
        parts = [str(value).encode() for value in data]
        return b"".join(_LENGTH.pack(len(part)) + part for part in parts)
    return np.array(data, dtype=kind.dtype).tobytes()
