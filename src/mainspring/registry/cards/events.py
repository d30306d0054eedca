"""What happens to cards."""

from __future__ import annotations

from mainspring.core.events import Event


class CardChanged(Event, frozen=True):
    """A version has another card; earlier revisions are kept."""

    model: str
    revision: int

    def makes(self) -> list[str]:
        """Give the version."""
        return [self.model]
