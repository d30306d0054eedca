"""The worker's side of jobs: take a step, keep it, and record what came of it, all under the current fence."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from mainspring.core.clock import Clock, SystemClock
from mainspring.pipelines import store
from mainspring.pipelines.events import JobEvent, JobFailed, JobFinished, StepFailed, StepFinished
from mainspring.pipelines.model import Failure, Lease, StepLog, job_ref
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import emit

MAX_BACKOFF_S = 300.0
MAX_LOSSES = 20
"""How often the worker of a step may be lost before the step is taken to be what kills it."""


class Leases:
    """Hands out the steps of jobs for *lease_s* seconds at a time.

    Time is that of each worker's own clock; workers whose clocks differ take steps over too early or too late, but what
    the former holder then wants to record is refused by the fence.
    """

    def __init__(self, database: Database, *, lease_s: float = 10.0, clock: Clock | None = None) -> None:
        self.database = database
        self.lease_s = lease_s
        self.clock = clock or SystemClock()

    def claim(self, owner: str) -> Lease | None:
        """Take the step that has waited longest, or one whose lease ran out; None when there is none."""
        now = self.clock.now()
        with self.database.read() as connection:  # So that an idle worker never takes SQLite's one write lock.
            if not store.something_to_claim(connection, now):
                return None
        with self.database.begin() as connection:
            now = self.clock.now()
            row = store.next_claim(connection, now)
            if row is None:
                return None
            lost = store.end_lost(connection, row, MAX_LOSSES, now)
            if lost is not None:
                for event in _events_of(lost):
                    emit(connection, event)
                return None
            return store.take(connection, row, owner, now, now + timedelta(seconds=self.lease_s))

    def reclaim(self, owner: str) -> int:
        """Let leases that a worker of this name held before it died run out now; gives how many there were."""
        with self.database.begin() as connection:
            return store.expire_leases_of(connection, owner, self.clock.now())

    def extend(self, lease: Lease, *, progress: str | None = None, fraction: float | None = None) -> None:
        """Keep the step for another `lease_s`, and say how far it is; raises StaleLease when it was lost."""
        values: dict[str, Any] = {} if progress is None else {"progress": progress, "fraction": fraction}
        with self.database.begin() as connection:
            # Reckoned once the write lock is there, which may have taken a while.
            values["lease_until"] = self.clock.now() + timedelta(seconds=self.lease_s)
            store.change_leased(connection, lease, values)

    def save_log(self, log: StepLog) -> None:
        """Keep what an attempt wrote so far."""
        with self.database.begin() as connection:
            store.save_log(connection, log)

    def finish(self, lease: Lease, result: Any, log: StepLog) -> None:
        """Record the result of a step and let go on what needs it; raises StaleLease, and then records nothing."""
        now = self.clock.now()
        values = {"state": "done", "result": result, "owner": None, "lease_until": None, "error": None, "ended": now}
        with self.database.begin() as connection:
            status = store.lock_job(connection, lease.job)
            store.change_leased(connection, lease, values)
            store.save_log(connection, log)
            store.unblock(connection, lease.job, lease.step.name)
            job, pipeline = job_ref(lease.job), lease.pipeline
            emit(connection, StepFinished(job=job, pipeline=pipeline, step=lease.step.name, attempt=lease.attempt))
            if status == "running" and store.all_done(connection, lease.job):
                store.set_job(connection, lease.job, "done", now, None)
                emit(connection, JobFinished(job=job, pipeline=pipeline))

    def fail(self, lease: Lease, failure: Failure, log: StepLog) -> None:
        """Record that an attempt failed: the step is tried again after its back-off, or fails with its job.

        Raises StaleLease, and then records nothing.
        """
        now = self.clock.now()
        step = lease.step
        with self.database.begin() as connection:
            status = store.lock_job(connection, lease.job)
            failures = store.failures_of(connection, lease) + 1
            final = failure.permanent or failures >= step.max_attempts or status != "running"
            delay = min(step.backoff_s * 2.0 ** (failures - 1), MAX_BACKOFF_S)
            values = {
                "state": "failed" if final else "pending",
                "failures": failures,
                "not_before": now + timedelta(seconds=delay),
                "owner": None,
                "lease_until": None,
                "error": failure.error,
                "ended": now,
            }
            store.change_leased(connection, lease, values)
            store.save_log(connection, log)
            about = {"job": job_ref(lease.job), "pipeline": lease.pipeline, "step": step.name}
            emit(connection, StepFailed(**about, attempt=lease.attempt, error=failure.error, final=final))
            if final and status == "running":
                store.fail_job(connection, lease.job, f"step {step.name} failed: {failure.error}", now)
                emit(connection, JobFailed(**about, error=failure.error))

    def release(self, lease: Lease, log: StepLog) -> None:
        """Give the step back unfinished, for another worker to begin at once; raises StaleLease."""
        now = self.clock.now()
        with self.database.begin() as connection:
            store.change_leased(
                connection, lease, {"state": "pending", "owner": None, "lease_until": None, "not_before": now}
            )
            store.save_log(connection, log)


def _events_of(lost: store.LostStep) -> list[JobEvent]:
    if lost.error is None:
        return []
    about = {"job": job_ref(lost.job), "pipeline": lost.pipeline, "step": lost.step, "error": lost.error}
    return [StepFailed(**about, attempt=lost.attempt, final=True), JobFailed(**about)]
