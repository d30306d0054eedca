"""What watches a run besides its code, and which of it is wanted."""

from __future__ import annotations

from typing import Protocol

import msgspec

from mainspring.client.queueing import RunQueue
from mainspring.core.errors import InvalidRequest

CAPTURES = ("command", "environment", "code", "output", "system")

HELPERS: set[int] = set()
"""Processes of ours, which are none of the run's."""


class Watcher(Protocol):
    """Adds to the entries of a run what it sees; the logger's writing thread looks after it twice a second."""

    def look(self, queue: RunQueue) -> None:
        """Log what there is to see now; must not take long."""
        ...

    def finish(self, queue: RunQueue) -> None:
        """Log the rest: the run ends."""
        ...


class Captures(msgspec.Struct, frozen=True):
    """Which of the things that can be captured are wanted."""

    names: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> Captures:
        """Read ``all``, ``none``, names joined by commas, or names to leave out of all of them (``-output``)."""
        words = {word.strip() for word in text.split(",") if word.strip()}
        if words == {"all"}:
            return cls(frozenset(CAPTURES))
        if words == {"none"}:
            return cls(frozenset())
        left_out = {word[1:] for word in words if word.startswith("-")}
        named = {word for word in words if not word.startswith("-")} - {"all"}
        if unknown := (left_out | named) - set(CAPTURES):
            raise InvalidRequest(f"{sorted(unknown)} cannot be captured: expected all, none, or {', '.join(CAPTURES)}")
        return cls(frozenset((named or set(CAPTURES)) - left_out))

    def __contains__(self, name: str) -> bool:
        return name in self.names
