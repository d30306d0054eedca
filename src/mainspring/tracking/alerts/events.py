"""What happens to alerts, as facts; webhooks are told of them like of any other event."""

from __future__ import annotations

from mainspring.core.events import Event
from mainspring.tracking.alerts.model import AlertLevel


class RunAlerted(Event, frozen=True):
    """A run said that somebody should look at it."""

    run: str
    title: str
    text: str
    level: AlertLevel
    raised: str

    def makes(self) -> list[str]:
        """Give the run."""
        return [self.run]
