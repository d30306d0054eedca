"""What can happen to rollouts; what they change is told by the events of releases."""

from __future__ import annotations

from typing import Any

from mainspring.core.events import Event


class RolloutStarted(Event, frozen=True, kw_only=True):
    """A candidate set out to take over an endpoint."""

    rollout: str
    endpoint: str
    candidate: str
    release: str

    def reads(self) -> list[str]:
        """Give the release on trial."""
        return [self.release]

    def makes(self) -> list[str]:
        """Give the rollout."""
        return [self.rollout]


class RolloutEnded(Event, frozen=True, kw_only=True):
    """A rollout came to its end: promoted, rolled_back, aborted, superseded or failed; with the evidence."""

    rollout: str
    endpoint: str
    candidate: str
    outcome: str
    reason: str
    evidence: dict[str, Any]

    def makes(self) -> list[str]:
        """Give the rollout."""
        return [self.rollout]
