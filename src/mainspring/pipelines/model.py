"""Pipelines as they are written down, and jobs as they are recorded: a job is one run of a pipeline."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from mainspring.core.refs import ref

JobStatus = Literal["running", "done", "failed", "cancelled"]
StepState = Literal["pending", "leased", "done", "failed", "cancelled"]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One Python function of a pipeline, run in a child process after the steps that it needs.

    ``function`` is ``module:attribute`` of a callable that takes a `StepContext` and returns something that JSON can
    hold. A failed attempt is followed by another after ``backoff_s``, then twice that, and so on (at most 5 minutes),
    up to ``max_attempts`` in all. ``timeout_s`` bounds one attempt.
    """

    name: str
    function: str
    needs: list[str] = []
    timeout_s: float = 3600.0
    max_attempts: int = 3
    backoff_s: float = 1.0


class Pipeline(msgspec.Struct, frozen=True):
    """Named steps that form a directed graph without cycles."""

    name: str
    steps: list[Step]


class StepRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How a step of a job stands. ``attempt`` counts the times that it was begun, whatever came of it.

    ``fence`` grows with every lease: what an earlier lease still wants to write is refused. ``error`` is one line; the
    traceback is in the step's log.
    """

    name: str
    function: str
    needs: list[str]
    state: StepState
    attempt: int
    fence: int
    owner: str | None = None
    lease_until: datetime | None = None
    result: Any = None
    error: str | None = None
    started: datetime | None = None
    ended: datetime | None = None
    progress: str | None = None
    fraction: float | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a pipeline with its parameters and steps, in the order in which they were declared."""

    id: str
    pipeline: str
    status: JobStatus
    parameters: dict[str, Any]
    started: datetime
    ended: datetime | None = None
    error: str | None = None
    steps: list[StepRecord] = []

    @property
    def ref(self) -> str:
        """Give the ref that events and lineage use."""
        return job_ref(self.id)

    def step(self, name: str) -> StepRecord:
        """Give the step of this name; raises KeyError."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)


class StepLog(msgspec.Struct, frozen=True):
    """What one attempt of a step wrote to its standard output and error (the middle is cut when it is long)."""

    job: str
    step: str
    attempt: int
    text: str
    traceback: str | None = None


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's right to run one attempt of a step, and everything that it needs for that."""

    job: str
    pipeline: str
    actor: str
    step: Step
    attempt: int
    fence: int
    owner: str
    until: datetime
    parameters: dict[str, Any]
    inputs: dict[str, Any]


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why an attempt failed: one line, and the traceback where there is one. ``permanent``: another would fail too."""

    error: str
    traceback: str | None = None
    permanent: bool = False


def job_ref(job: str) -> str:
    """Give the ref of a job by its id."""
    return ref("job", job)
