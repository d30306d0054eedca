"""What happens in tracking, as facts; reading a dataset or code draws the line of lineage at once, not at the end."""

from __future__ import annotations

from mainspring.core.events import Event
from mainspring.core.refs import ref
from mainspring.tracking.model import RunStatus


class ExperimentCreated(Event, frozen=True):
    """An experiment was created."""

    experiment: str

    def makes(self) -> list[str]:
        """Give the experiment."""
        return [ref("experiment", self.experiment)]


class RunStarted(Event, frozen=True):
    """A run began, perhaps as a part of another run."""

    run: str
    experiment: str
    parent: str | None = None

    def reads(self) -> list[str]:
        """Give the parent run."""
        return [] if self.parent is None else [self.parent]

    def makes(self) -> list[str]:
        """Give the run."""
        return [self.run]


class RunReadDataset(Event, frozen=True):
    """A run said which dataset version it reads."""

    run: str
    dataset: str
    context: str

    def reads(self) -> list[str]:
        """Give the dataset version."""
        return [self.dataset]

    def makes(self) -> list[str]:
        """Give the run."""
        return [self.run]


class RunCodeRecorded(Event, frozen=True):
    """A run said which commit it executes, and whether the working tree differed from it."""

    run: str
    commit: str
    dirty: bool

    def reads(self) -> list[str]:
        """Give the commit."""
        return [ref("commit", self.commit)]

    def makes(self) -> list[str]:
        """Give the run."""
        return [self.run]


class RunFinished(Event, frozen=True):
    """A run ended, well or not."""

    run: str
    status: RunStatus

    def makes(self) -> list[str]:
        """Give the run."""
        return [self.run]


class RunResumed(Event, frozen=True):
    """An ended run goes on."""

    run: str

    def makes(self) -> list[str]:
        """Give the run."""
        return [self.run]
