"""Ids that sort by the time they were made (ULID: 48 bits of milliseconds, 80 bits of chance, Crockford base 32).

The format is that of https://github.com/ulid/spec, monotonic within a process.
"""

from __future__ import annotations

import os
import threading
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
_lock = threading.Lock()
_TAIL_BITS = 20
_LAST_TAIL = 2**_TAIL_BITS - 1
_last_ms = 0
_high = 0
_head = ""
_tail = 0


def new_id() -> str:
    """Give a new id of 26 characters, greater than every one given before by this process."""
    global _tail
    now_ms = time.time_ns() // 1_000_000
    with _lock:
        # Ids of one millisecond differ in their last letters only: the others are spelled once.
        if now_ms > _last_ms or _tail == _LAST_TAIL:
            _begin(now_ms)
        else:
            _tail += 1
        return _head + _PAIRS[_tail >> 10] + _PAIRS[_tail & 1023]


def _begin(now_ms: int) -> None:
    global _last_ms, _high, _head, _tail
    if now_ms > _last_ms:
        _last_ms = now_ms
        # The top bit stays clear so that counting up within one millisecond cannot overflow 80 bits.
        chance = int.from_bytes(os.urandom(10), "big") >> 1
        _high, _tail = chance >> _TAIL_BITS, chance & _LAST_TAIL
    else:
        _high, _tail = _high + 1, 0
    value = (_last_ms << 60) | _high
    _head = "".join([_PAIRS[(value >> shift) & 1023] for shift in range(100, -1, -10)])


def _forget() -> None:
    # A forked child must not go on counting from its parent's last id.
    global _last_ms
    _last_ms = 0


os.register_at_fork(after_in_child=_forget)
