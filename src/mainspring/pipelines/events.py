"""What happens to jobs, as facts."""

from __future__ import annotations

from mainspring.core.events import Event


class JobEvent(Event, frozen=True):
    """Something happened to a job."""

    job: str
    pipeline: str

    def makes(self) -> list[str]:
        """Give the job."""
        return [self.job]


class JobStarted(JobEvent, frozen=True):
    """A job was started; its steps wait for workers."""


class StepFinished(JobEvent, frozen=True):
    """A step of a job was done, and its result is recorded."""

    step: str
    attempt: int


class StepFailed(JobEvent, frozen=True):
    """An attempt of a step failed; ``final``: there will be no other."""

    step: str
    attempt: int
    error: str
    final: bool


class JobFinished(JobEvent, frozen=True):
    """Every step of a job is done."""


class JobFailed(JobEvent, frozen=True):
    """A step of a job failed for good, so those that need it cannot run."""

    step: str
    error: str


class JobCancelled(JobEvent, frozen=True):
    """Somebody cancelled a job."""


class JobRetried(JobEvent, frozen=True):
    """Somebody let a failed or cancelled job go on from the steps that are done."""
