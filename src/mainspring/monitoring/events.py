"""What happens in monitoring, as facts."""

from __future__ import annotations

from mainspring.core.events import Event
from mainspring.core.refs import ref


class ReferenceSet(Event, frozen=True):
    """It was learnt what is normal for a release."""

    endpoint: str
    release: str
    reference: str
    model: str | None
    dataset: str | None

    def reads(self) -> list[str]:
        """Give the release, and the model and dataset that it was learnt from."""
        return [source for source in (self.release, self.model, self.dataset) if source is not None]

    def makes(self) -> list[str]:
        """Give the reference."""
        return [self.reference]


class ReferenceWatched(Event, frozen=True):
    """An endpoint is watched against the reference of another release from now on."""

    endpoint: str
    release: str
    reference: str

    def reads(self) -> list[str]:
        """Give the reference."""
        return [self.reference]

    def makes(self) -> list[str]:
        """Give the endpoint."""
        return [ref("endpoint", self.endpoint)]


class WindowChecked(Event, frozen=True):
    """A window of traffic, or of labels, was compared with the reference."""

    endpoint: str
    release: str
    reference: str
    report: str
    cut: str
    number: int
    rows: int
    alarms: int

    def reads(self) -> list[str]:
        """Give the release and the reference."""
        return [self.release, self.reference]

    def makes(self) -> list[str]:
        """Give the report."""
        return [self.report]


class DriftDetected(Event, frozen=True):
    """What comes in, or the predictions, are no longer as in the reference."""

    endpoint: str
    release: str
    report: str
    alarms: list[str]
    columns: list[str]

    def reads(self) -> list[str]:
        """Give the report."""
        return [self.report]

    def makes(self) -> list[str]:
        """Give the alarms."""
        return self.alarms


class PerformanceDropped(Event, frozen=True):
    """The model is worse on labelled traffic than it was on the reference."""

    endpoint: str
    release: str
    report: str
    alarms: list[str]
    metric: str
    value: float
    reference_value: float

    def reads(self) -> list[str]:
        """Give the report."""
        return [self.report]

    def makes(self) -> list[str]:
        """Give the alarms."""
        return self.alarms
