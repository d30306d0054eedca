"""What happens in training, for lineage, audit and whoever subscribes."""

from __future__ import annotations

from mainspring.core.events import Event


class ModelTrained(Event, frozen=True):
    """A training finished: its run read a dataset version and left a model, not yet registered."""

    run: str
    dataset: str
    digest: str
    candidate: str
    metric: str
    value: float | None

    def reads(self) -> list[str]:
        """Give the dataset version."""
        return [self.dataset]

    def makes(self) -> list[str]:
        """Give the run."""
        return [self.run]
