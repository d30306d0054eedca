"""What was removed for good, as facts; the journal keeps them when nothing else does."""

from __future__ import annotations

from mainspring.core.events import Event
from mainspring.core.refs import ref


class ExperimentCollected(Event, frozen=True):
    """A deleted experiment is being removed for good with its runs; its name is free."""

    experiment: str
    id: str

    def makes(self) -> list[str]:
        """Give the experiment."""
        return [ref("experiment", self.experiment)]


class RunsCollected(Event, frozen=True):
    """Deleted runs are being removed for good."""

    runs: list[str]

    def makes(self) -> list[str]:
        """Give the runs."""
        return [ref("run", run) for run in self.runs]


class LoggedModelsCollected(Event, frozen=True):
    """Deleted logged models, or those of an experiment that went, are being removed for good."""

    models: list[str]

    def makes(self) -> list[str]:
        """Give the models."""
        return [ref("logged_model", model) for model in self.models]
