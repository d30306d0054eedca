"""Passwords as they are kept: hashed by scrypt, which takes memory, so that guessing stays dear."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import threading

_LOG_N, _R, _P = 15, 8, 1
_SALT_BYTES, _KEY_BYTES = 16, 32
_AT_ONCE = threading.BoundedSemaphore(2)
"""Each takes 32 MiB and most of a tenth of a second of one core."""


def hashed(password: str) -> str:
    """Give what is kept of a password."""
    salt = os.urandom(_SALT_BYTES)
    key = _derived(password, salt, _LOG_N, _R, _P)
    return "$".join(["scrypt", str(_LOG_N), str(_R), str(_P), _text(salt), _text(key)])


def matches(password: str, kept: str) -> bool:
    """Tell whether a password is the one that was kept; it takes as long whatever the answer."""
    _, log_n, r, p, salt, key = kept.split("$")
    derived = _derived(password, base64.b64decode(salt), int(log_n), int(r), int(p))
    return hmac.compare_digest(derived, base64.b64decode(key))


def _derived(password: str, salt: bytes, log_n: int, r: int, p: int) -> bytes:
    memory = 128 * r * (2**log_n + p + 2)
    with _AT_ONCE:
        return hashlib.scrypt(
            password.encode(), salt=salt, n=2**log_n, r=r, p=p, maxmem=memory + 2**20, dklen=_KEY_BYTES
        )


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
