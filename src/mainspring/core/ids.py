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
_last_ms = 0
_random = 0
_head_value = -1
_head = ""


def new_id() -> str:
    """Give a new id of 26 characters, greater than every one given before by this process."""
    global _last_ms, _random, _head_value, _head
    now_ms = time.time_ns() // 1_000_000
    with _lock:
        if now_ms > _last_ms:
            _last_ms = now_ms
            # The top bit stays clear so that counting up within one millisecond cannot overflow 80 bits.
            _random = int.from_bytes(os.urandom(10), "big") >> 1
        else:
            _random += 1
        value = (_last_ms << 80) | _random
        # Ids of one millisecond differ in their last letters only: the others are spelled once.
        if value >> 20 != _head_value:
            _head_value = value >> 20
            _head = "".join([_PAIRS[(value >> shift) & 1023] for shift in range(120, 10, -10)])
        return _head + _PAIRS[(value >> 10) & 1023] + _PAIRS[value & 1023]


def _forget() -> None:
    # A forked child must not go on counting from its parent's last id.
    global _last_ms
    _last_ms = 0


os.register_at_fork(after_in_child=_forget)
