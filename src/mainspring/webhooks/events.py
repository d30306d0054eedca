"""What happens to webhooks. Their addresses are often secrets themselves, so only the host is told."""

from __future__ import annotations

from mainspring.core.events import Event
from mainspring.webhooks.model import Status


class WebhookCreated(Event, frozen=True):
    """A webhook was created."""

    webhook: str
    name: str
    host: str
    events: list[str]

    def makes(self) -> list[str]:
        """Give the webhook."""
        return [self.webhook]


class WebhookChanged(Event, frozen=True):
    """A webhook was changed; ``changed`` names what."""

    webhook: str
    name: str
    host: str
    events: list[str]
    status: Status
    changed: list[str]

    def makes(self) -> list[str]:
        """Give the webhook."""
        return [self.webhook]


class WebhookDeleted(Event, frozen=True):
    """A webhook was deleted, and what was on its way to it."""

    webhook: str
    name: str

    def makes(self) -> list[str]:
        """Give the webhook."""
        return [self.webhook]
