"""What happens with triggers, as facts."""

from __future__ import annotations

from mainspring.core.events import Event
from mainspring.core.refs import ref


class TriggerPolicySet(Event, frozen=True):
    """Somebody said when an endpoint's pipeline is to be started."""

    endpoint: str

    def makes(self) -> list[str]:
        """Give the endpoint."""
        return [ref("endpoint", self.endpoint)]


class TriggerFired(Event, frozen=True):
    """It was decided that the pipeline is to be started, for these reasons."""

    endpoint: str
    firing: str
    trigger: str
    reasons: list[str]
    alarms: list[str]
    needs_approval: bool

    def reads(self) -> list[str]:
        """Give the alarms, or the endpoint when there are none."""
        return self.alarms or [ref("endpoint", self.endpoint)]

    def makes(self) -> list[str]:
        """Give the firing."""
        return [self.firing]


class FiringApproved(Event, frozen=True):
    """Somebody approved a firing."""

    endpoint: str
    firing: str

    def makes(self) -> list[str]:
        """Give the firing."""
        return [self.firing]


class FiringRejected(Event, frozen=True):
    """Somebody rejected a firing."""

    endpoint: str
    firing: str
    reason: str

    def makes(self) -> list[str]:
        """Give the firing."""
        return [self.firing]


class RetrainingStarted(Event, frozen=True):
    """The pipeline of a firing was started."""

    endpoint: str
    firing: str
    job: str

    def reads(self) -> list[str]:
        """Give the firing."""
        return [self.firing]

    def makes(self) -> list[str]:
        """Give the job."""
        return [self.job]


class FiringFailed(Event, frozen=True):
    """The pipeline of a firing could not be started, and trying again would not help."""

    endpoint: str
    firing: str
    error: str

    def makes(self) -> list[str]:
        """Give the firing."""
        return [self.firing]


class EvaluationFailed(Event, frozen=True):
    """An endpoint's rules could not be looked at; told when that begins, and when the reason changes."""

    endpoint: str
    error: str

    def makes(self) -> list[str]:
        """Give the endpoint."""
        return [ref("endpoint", self.endpoint)]
