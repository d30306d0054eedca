"""Runs that are made of others, and histories that are corrected, as facts."""

from __future__ import annotations

from mainspring.core.events import Event


class RunForked(Event, frozen=True):
    """A run began with the history of another one up to a step."""

    run: str
    source: str
    at_step: int

    def reads(self) -> list[str]:
        """Give the run that it was forked from."""
        return [self.source]

    def makes(self) -> list[str]:
        """Give the new run."""
        return [self.run]


class RunCloned(Event, frozen=True):
    """A run was made ready that does what another one did, with other parameters."""

    run: str
    source: str
    edited: list[str]

    def reads(self) -> list[str]:
        """Give the run that it was cloned from."""
        return [self.source]

    def makes(self) -> list[str]:
        """Give the new run."""
        return [self.run]


class MetricPointsDeleted(Event, frozen=True):
    """Points of a run were removed because its history was wrong; ``key`` is None where it was every metric's."""

    run: str
    key: str | None
    after_step: int
    points: int

    def makes(self) -> list[str]:
        """Give the run."""
        return [self.run]
