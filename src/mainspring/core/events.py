"""An event is a fact in the past tense; what it read and what it made become lineage by themselves."""

from __future__ import annotations

from typing import Any

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened. Subclasses add what is worth knowing, and name the refs that they connect."""

    def reads(self) -> list[str]:
        """Give the refs that this event consumed."""
        return []

    def makes(self) -> list[str]:
        """Give the refs that this event produced or changed."""
        return []

    @property
    def kind(self) -> str:
        """Give the name under which the event is stored and subscribed to."""
        return type(self).__name__


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it is stored: numbered, dated, signed."""

    id: int
    kind: str
    at: str
    actor: str
    origin: str
    body: dict[str, Any]
    reads: list[str]
    makes: list[str]


class Edge(msgspec.Struct, frozen=True):
    """A line of lineage: *target* came from *source* by an event of this kind."""

    source: str
    kind: str
    target: str
