"""The verbs of pipelines: start jobs, look at them, cancel them, let them go on."""

from __future__ import annotations

from typing import Any

from mainspring.core.actor import current_actor
from mainspring.core.clock import Clock, SystemClock
from mainspring.core.errors import Conflict, InvalidRequest
from mainspring.core.ids import new_id
from mainspring.core.operations import operation
from mainspring.pipelines import store
from mainspring.pipelines.events import JobCancelled, JobRetried, JobStarted
from mainspring.pipelines.graph import check
from mainspring.pipelines.model import Job, JobStatus, Pipeline, StepLog, job_ref
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import emit

MAX_JOBS = 1_000
Jobs = list[Job]


class Pipelines:
    """Jobs in *database*; workers (`pipelines.worker`) run their steps."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self.database = database
        self.clock = clock or SystemClock()

    @operation("POST /jobs")
    def start(self, pipeline: Pipeline, parameters: dict[str, Any] | None = None, token: str | None = None) -> Job:
        """Record a job, whose steps workers then run.

        Returns at once. A second call with the same *token* returns the first job and writes nothing. Raises
        InvalidRequest for a pipeline that cannot run: unknown needs, a cycle, a name twice.
        """
        check(pipeline)
        fresh = Job(
            id=new_id(),
            pipeline=pipeline.name,
            status="running",
            parameters=parameters or {},
            started=self.clock.now(),
        )
        with self.database.begin() as connection:
            if token is not None and (found := store.find_job_by_token(connection, token)):
                return found
            if not store.insert_job(connection, fresh, pipeline, current_actor().name, token):
                # Another call with the same token committed since we looked.
                return store.find_job_by_token(connection, token or "") or fresh
            emit(connection, JobStarted(job=fresh.ref, pipeline=pipeline.name))
            return store.find_job(connection, fresh.id)

    @operation("GET /jobs/{job}")
    def get(self, job: str) -> Job:
        """Get a job with its steps and their results.

        Raises NotFound.
        """
        with self.database.read() as connection:
            return store.find_job(connection, job)

    @operation("POST /jobs/{job}/cancel")
    def cancel(self, job: str) -> Job:
        """Cancel a job.

        What has not ended is not run or recorded; a step that runs is stopped within some seconds. Cancelling twice
        changes nothing. Raises NotFound, and Conflict when the job has ended.
        """
        with self.database.begin() as connection:
            status = store.lock_job(connection, job)
            if status == "cancelled":
                return store.find_job(connection, job)
            if status != "running":
                raise Conflict(f"job {job} is {status} already", job=job)
            now = self.clock.now()
            store.cancel_steps(connection, job, ("pending", "leased"), now)
            store.set_job(connection, job, "cancelled", now, None)
            found = store.find_job(connection, job)
            emit(connection, JobCancelled(job=job_ref(job), pipeline=found.pipeline))
            return found

    @operation("POST /jobs/{job}/retry")
    def retry(self, job: str) -> Job:
        """Let a failed or cancelled job go on.

        Steps that are done stay done. Raises NotFound, and Conflict when the job runs or is done.
        """
        with self.database.begin() as connection:
            status = store.lock_job(connection, job)
            if status not in ("failed", "cancelled"):
                raise Conflict(f"job {job} is {status}: only a failed or cancelled job can be retried", job=job)
            store.revive_steps(connection, job, self.clock.now())
            store.set_job(connection, job, "running", None, None)
            found = store.find_job(connection, job)
            emit(connection, JobRetried(job=job_ref(job), pipeline=found.pipeline))
            return found

    @operation("GET /jobs/{job}/logs")
    def logs(self, job: str, step: str | None = None) -> list[StepLog]:
        """Read what the attempts of a job's steps wrote, with the traceback of those that failed.

        Raises NotFound.
        """
        with self.database.read() as connection:
            store.find_job(connection, job)
            return store.find_logs(connection, job, step)

    @operation("GET /jobs")
    def list(
        self,
        pipeline: str | None = None,
        status: JobStatus | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> Jobs:
        """List jobs, newest first, without the results of their steps.

        *before* is the id that the last page ended with.
        """
        if not 1 <= limit <= MAX_JOBS:
            raise InvalidRequest(f"limit is {limit}, expected 1 to {MAX_JOBS}", limit=limit)
        with self.database.read() as connection:
            return store.find_jobs(connection, pipeline=pipeline, status=status, before=before, limit=limit)
