"""Assign a unit (a user, an account) to the stable or the canary arm of an endpoint, the same way every time.

The unit's place is a salted hash of it in [0, 1); the canary takes the units below its share. So a share that grows
only adds units to the canary and never moves one back, on every worker alike and with nothing stored.
"""

from __future__ import annotations

import hashlib

_SPACE = 2**64


class Split:
    """The sticky assignment of one rollout."""

    def __init__(self, salt: str, share: float) -> None:
        # Salt and unit share one block of the hash, so a unit costs one compression; the salt is taken in once.
        self._salted = hashlib.blake2b(hashlib.blake2b(salt.encode(), digest_size=32).digest(), digest_size=8)
        taken = round(min(1.0, max(0.0, share)) * _SPACE)
        self._everyone = taken == _SPACE
        self._threshold = (taken % _SPACE).to_bytes(8, "big")

    def place(self, unit: bytes) -> float:
        """Give the place of a unit in [0, 1)."""
        hashed = self._salted.copy()
        hashed.update(unit)
        return int.from_bytes(hashed.digest(), "big") / _SPACE

    def canary(self, unit: bytes) -> bool:
        """Tell whether the unit belongs to the canary."""
        hashed = self._salted.copy()
        hashed.update(unit)
        # Eight bytes, the first the highest: they compare as the number does.
        return hashed.digest() < self._threshold or self._everyone
