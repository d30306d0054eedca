"""What a worker and its child process say to each other: MessagePack in frames, over two pipes.

A frame is its length (4 bytes, little-endian) and that many bytes.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import Any

import msgspec

_LENGTH = struct.Struct("<I")
MAX_RESULT_BYTES = 1 << 20


class RunStep(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Run this attempt of a step. ``platform`` is ``module:attribute`` of what opens the platform for ``home``.

    The child ends itself when the step has run for ``lease_s`` and no `KeepOn` came.
    """

    job: str
    pipeline: str
    step: str
    function: str
    attempt: int
    actor: str
    parameters: dict[str, Any]
    inputs: dict[str, Any]
    platform: str | None
    home: str
    lease_s: float


class KeepOn(msgspec.Struct, frozen=True, tag=True):
    """The lease was extended: the step may run for this much longer from now."""

    lease_s: float


class Progressed(msgspec.Struct, frozen=True, tag=True):
    """The step says how far it is."""

    text: str
    fraction: float | None


class Succeeded(msgspec.Struct, frozen=True, tag=True):
    """The step returned; the result is JSON. ``rss_bytes`` is the memory that the child holds now."""

    result: bytes
    rss_bytes: int


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The step raised."""

    error: str
    traceback: str
    permanent: bool
    rss_bytes: int


Order = RunStep | KeepOn
Told = Progressed | Succeeded | Failed
encode = msgspec.msgpack.Encoder().encode
decode_order: Callable[[bytes], Order] = msgspec.msgpack.Decoder(Order).decode
decode_told: Callable[[bytes], Told] = msgspec.msgpack.Decoder(Told).decode


def write_frame(descriptor: int, payload: bytes) -> None:
    """Write a whole frame; raises BrokenPipeError when the other side is gone."""
    rest = memoryview(_LENGTH.pack(len(payload)) + payload)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def read_frame(descriptor: int) -> bytes | None:
    """Wait for a whole frame; None when the other side is gone."""
    head = _read(descriptor, _LENGTH.size)
    return None if head is None else _read(descriptor, _LENGTH.unpack(head)[0])


def _read(descriptor: int, size: int) -> bytes | None:
    parts: list[bytes] = []
    while size:
        part = os.read(descriptor, min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


class Frames:
    """Puts frames together from the pieces in which they arrive."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, piece: bytes) -> list[bytes]:
        """Take a piece and give the frames that are whole now."""
        self._buffer += piece
        found: list[bytes] = []
        while len(self._buffer) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._buffer)[0]
            if len(self._buffer) < end:
                break
            found.append(bytes(self._buffer[_LENGTH.size : end]))
            del self._buffer[:end]
        return found
