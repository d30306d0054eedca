"""Which trace the current work belongs to, as W3C Trace Context carries it between processes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import msgspec

# Version, trace id, parent id, flags; later versions may append fields (W3C Trace Context, 3.2 and 4).
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_MAX_LENGTH = 512
_SAMPLED = 1


class Trace(msgspec.Struct, frozen=True):
    """A place in a trace: 32 and 16 hexadecimal digits, and whether the caller recorded it."""

    trace_id: str
    span_id: str
    sampled: bool = True

    @property
    def traceparent(self) -> str:
        """This place as the value of a `traceparent` header."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"

    def child(self) -> Trace:
        """A new span in the same trace."""
        return Trace(self.trace_id, _random_hex(8), self.sampled)


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


def new_trace() -> Trace:
    """The root of a new trace, with random ids."""
    return Trace(_random_hex(16), _random_hex(8))


def parse_traceparent(header: str | bytes | None) -> Trace | None:
    """The caller's place, or None if the header is absent or not valid, which must be treated alike."""
    if not header or len(header) > _MAX_LENGTH:
        return None
    text = header.decode("latin-1") if isinstance(header, bytes) else header
    match = _TRACEPARENT.fullmatch(text.strip())
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more) or not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return Trace(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))


def current_trace() -> Trace | None:
    """The trace that the running work belongs to, if any."""
    return _current.get()


@contextmanager
def in_trace(trace: Trace | None) -> Iterator[None]:
    """Work within *trace*: logs name it, calls to others carry it on."""
    token = _current.set(trace)
    try:
        yield
    finally:
        _current.reset(token)


def _random_hex(size: int) -> str:
    digits = os.urandom(size).hex()
    # All zeros mean "no id"; the chance is nil, the rule is not.
    return digits if digits.strip("0") else _random_hex(size)
