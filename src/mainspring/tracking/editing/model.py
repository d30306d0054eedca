"""What comes of forking, cloning and correcting runs."""

from __future__ import annotations

import msgspec

from mainspring.tracking.model import NotFinite, Run


class Clone(msgspec.Struct, frozen=True):
    """A run that is ready to be executed: which code, with which parameters, and how, as far as the first one told.

    ``command`` has the values of the edited parameters where it had the old ones; None when no command was recorded.
    """

    run: Run
    params: dict[str, str]
    command: list[str] | None = None


class Corrected(msgspec.Struct, frozen=True):
    """What a correction removed: points, of so many metrics, of which some have none left."""

    run: str
    points: int
    metrics: int
    emptied: list[str] = []


class Joined(msgspec.Struct, frozen=True):
    """One metric against another one, at the steps at which both were measured; of several points the latest counts."""

    key: str
    against: str
    steps: list[int]
    x: list[float | NotFinite]
    y: list[float | NotFinite]
    next_step: int | None = None
