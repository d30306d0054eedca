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


class ExperimentRenamed(Event, frozen=True):
    """An experiment got another name."""

    experiment: str
    renamed: str

    def reads(self) -> list[str]:
        """Give the experiment by the name that it had."""
        return [ref("experiment", self.experiment)]

    def makes(self) -> list[str]:
        """Give the experiment by the name that it has now."""
        return [ref("experiment", self.renamed)]


class ExperimentDeleted(Event, frozen=True):
    """An experiment was deleted with its runs; it can be restored."""

    experiment: str

    def makes(self) -> list[str]:
        """Give the experiment."""
        return [ref("experiment", self.experiment)]


class ExperimentRestored(Event, frozen=True):
    """A deleted experiment is in use again, with the runs that were deleted with it."""

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


class RunDeleted(Event, frozen=True):
    """A run was deleted; it can be restored."""

    run: str

    def makes(self) -> list[str]:
        """Give the run."""
        return [self.run]


class RunRestored(Event, frozen=True):
    """A deleted run is in use again."""

    run: str

    def makes(self) -> list[str]:
        """Give the run."""
        return [self.run]


class RunMadeModel(Event, frozen=True):
    """A run said which model it made."""

    run: str
    model: str

    def reads(self) -> list[str]:
        """Give the run."""
        return [self.run]

    def makes(self) -> list[str]:
        """Give the model."""
        return [self.model]
