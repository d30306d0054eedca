"""The tables of jobs and their SQL.

A step is taken by whoever changes its row from what it read; `fence` is part of every condition that a lease's holder
writes under, so a row that went on without it is not touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    Row,
    Table,
    Text,
    func,
    select,
    update,
)

from mainspring.core.errors import NotFound, StaleLease
from mainspring.pipelines.model import Job, JobStatus, Lease, Pipeline, Step, StepLog, StepRecord
from mainspring.storage.sql.schema import Instant, Packed, metadata, upsert

jobs = Table(
    "jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("pipeline", Text, nullable=False),
    Column("definition", Packed(Pipeline), nullable=False),
    Column("status", Text, nullable=False),
    Column("parameters", Packed(dict[str, Any]), nullable=False),
    Column("actor", Text, nullable=False),
    Column("started", Instant, nullable=False),
    Column("ended", Instant),
    Column("error", Text),
    Column("token", Text, unique=True),
    Index("ix_jobs_pipeline", "pipeline", "id"),
    Index("ix_jobs_status", "status", "id"),
)

steps = Table(
    "job_steps",
    metadata,
    Column("job", Text, ForeignKey("jobs.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("definition", Packed(Step), nullable=False),
    Column("state", Text, nullable=False),
    Column("waiting", Integer, nullable=False),
    Column("not_before", Instant, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("losses", Integer, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("owner", Text),
    Column("lease_until", Instant),
    Column("result", Packed()),
    Column("error", Text),
    Column("started", Instant),
    Column("ended", Instant),
    Column("progress", Text),
    Column("fraction", Float),
    Index("ix_job_steps_state", "state", "not_before"),
)

logs = Table(
    "job_step_logs",
    metadata,
    Column("job", Text, ForeignKey("jobs.id"), primary_key=True),
    Column("step", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("text", Text, nullable=False),
    Column("traceback", Text),
)


def insert_job(connection: Connection, job: Job, pipeline: Pipeline, actor: str, token: str | None) -> bool:
    """Insert a job with all its steps pending, and tell whether its token was new."""
    row = {
        "id": job.id,
        "pipeline": job.pipeline,
        "definition": pipeline,
        "status": job.status,
        "parameters": job.parameters,
        "actor": actor,
        "started": job.started,
        "token": token,
    }
    if not upsert(connection, jobs, row, keys=["token"], update=[]):
        return False
    connection.execute(steps.insert(), [_step_row(job, at, step) for at, step in enumerate(pipeline.steps)])
    return True


def _step_row(job: Job, position: int, step: Step) -> dict[str, Any]:
    return {
        "job": job.id,
        "name": step.name,
        "position": position,
        "definition": step,
        "state": "pending",
        "waiting": len(step.needs),
        "not_before": job.started,
        "attempt": 0,
        "failures": 0,
        "losses": 0,
        "fence": 0,
    }


def find_job(connection: Connection, job: str) -> Job:
    """Find a job with its steps and their results; raises NotFound."""
    row = connection.execute(select(jobs).where(jobs.c.id == job)).first()
    if row is None:
        raise NotFound(f"no job {job!r}", job=job)
    return _jobs(connection, [row], results=True)[0]


def find_job_by_token(connection: Connection, token: str) -> Job | None:
    """Find the job that was started with this token."""
    row = connection.execute(select(jobs).where(jobs.c.token == token)).first()
    return None if row is None else _jobs(connection, [row], results=True)[0]


def find_jobs(
    connection: Connection, *, pipeline: str | None, status: JobStatus | None, before: str | None, limit: int
) -> list[Job]:
    """List jobs, newest first, without the results of their steps."""
    query = select(jobs).order_by(jobs.c.id.desc()).limit(limit)
    if pipeline is not None:
        query = query.where(jobs.c.pipeline == pipeline)
    if status is not None:
        query = query.where(jobs.c.status == status)
    if before is not None:
        query = query.where(jobs.c.id < before)
    return _jobs(connection, connection.execute(query).all(), results=False)


def _jobs(connection: Connection, rows: Sequence[Row[Any]], *, results: bool) -> list[Job]:
    columns = [column for column in steps.c if results or column.name != "result"]
    query = select(*columns).where(steps.c.job.in_([row.id for row in rows])).order_by(steps.c.job, steps.c.position)
    found: dict[str, list[StepRecord]] = {row.id: [] for row in rows}
    for step in connection.execute(query):
        found[step.job].append(_record(step, step.result if results else None))
    return [
        Job(
            id=row.id,
            pipeline=row.pipeline,
            status=row.status,
            parameters=row.parameters,
            started=row.started,
            ended=row.ended,
            error=row.error,
            steps=found[row.id],
        )
        for row in rows
    ]


def _record(row: Row[Any], result: Any) -> StepRecord:
    return StepRecord(
        name=row.name,
        function=row.definition.function,
        needs=row.definition.needs,
        state=row.state,
        attempt=row.attempt,
        fence=row.fence,
        owner=row.owner,
        lease_until=row.lease_until,
        result=result,
        error=row.error,
        started=row.started,
        ended=row.ended,
        progress=row.progress,
        fraction=row.fraction,
    )


def lock_job(connection: Connection, job: str) -> JobStatus:
    """Let other changes to this job wait until the transaction ends; raises NotFound.

    Two steps that end at the same time must see each other, or neither would notice that the job is done.
    """
    query = select(jobs.c.status).where(jobs.c.id == job).with_for_update()
    status: JobStatus | None = connection.execute(query).scalar_one_or_none()
    if status is None:
        raise NotFound(f"no job {job!r}", job=job)
    return status


def set_job(connection: Connection, job: str, status: JobStatus, ended: datetime | None, error: str | None) -> None:
    """Set how a job stands."""
    connection.execute(update(jobs).where(jobs.c.id == job).values(status=status, ended=ended, error=error))


def all_done(connection: Connection, job: str) -> bool:
    """Tell whether every step of a job is done."""
    query = select(func.count()).where(steps.c.job == job, steps.c.state != "done")
    return connection.execute(query).scalar_one() == 0


# Leases


def _claimable(now: datetime) -> ColumnElement[bool]:
    ready = (steps.c.state == "pending") & (steps.c.waiting == 0) & (steps.c.not_before <= now)
    return ready | ((steps.c.state == "leased") & (steps.c.lease_until < now))


def something_to_claim(connection: Connection, now: datetime) -> bool:
    """Tell whether a worker could take a step, without a lock."""
    return connection.execute(select(steps.c.name).where(_claimable(now)).limit(1)).first() is not None


def next_claim(connection: Connection, now: datetime) -> Row[Any] | None:
    """Lock the step that has waited longest; on PostgreSQL, workers that look at the same time get different ones."""
    query = select(steps).where(_claimable(now)).order_by(steps.c.not_before, steps.c.job, steps.c.position)
    return connection.execute(query.limit(1).with_for_update(skip_locked=True)).first()


def take(connection: Connection, row: Row[Any], owner: str, now: datetime, until: datetime) -> Lease | None:
    """Lease the step to *owner*; None when it is no longer as it was read."""
    lost = row.state == "leased"
    unchanged = (steps.c.state == row.state) & (steps.c.fence == row.fence)
    values = {
        "state": "leased",
        "owner": owner,
        "lease_until": until,
        "fence": row.fence + 1,
        "attempt": row.attempt + 1,
        "losses": row.losses + lost,
        "started": now,
        "progress": None,
        "fraction": None,
    }
    if not connection.execute(update(steps).where(_is(row.job, row.name), unchanged).values(values)).rowcount:
        return None
    job = connection.execute(select(jobs).where(jobs.c.id == row.job)).one()
    return Lease(
        job=row.job,
        pipeline=job.pipeline,
        actor=job.actor,
        step=row.definition,
        attempt=row.attempt + 1,
        fence=row.fence + 1,
        owner=owner,
        until=until,
        parameters=job.parameters,
        inputs=_results(connection, row.job, row.definition.needs),
    )


def _results(connection: Connection, job: str, names: Sequence[str]) -> dict[str, Any]:
    query = select(steps.c.name, steps.c.result).where(steps.c.job == job, steps.c.name.in_(names))
    return {row.name: row.result for row in connection.execute(query)}


def change_leased(connection: Connection, lease: Lease, values: dict[str, Any]) -> None:
    """Change the step while the lease holds; raises StaleLease when it does not."""
    held = (steps.c.state == "leased") & (steps.c.fence == lease.fence)
    if not connection.execute(update(steps).where(_is(lease.job, lease.step.name), held).values(values)).rowcount:
        raise StaleLease(
            f"step {lease.step.name} of job {lease.job} is no longer leased with fence {lease.fence}: "
            "it was cancelled, or another worker took it over; what this attempt made is not recorded",
            job=lease.job,
            step=lease.step.name,
            fence=lease.fence,
        )


def failures_of(connection: Connection, lease: Lease) -> int:
    """Give how many attempts of the step failed so far."""
    return int(connection.execute(select(steps.c.failures).where(_is(lease.job, lease.step.name))).scalar_one())


def expire_leases_of(connection: Connection, owner: str, now: datetime) -> int:
    """Let the leases of a worker that begins anew run out at once."""
    mine = (steps.c.state == "leased") & (steps.c.owner == owner) & (steps.c.lease_until >= now)
    gone = {"lease_until": datetime.fromtimestamp(0, tz=now.tzinfo)}
    return connection.execute(update(steps).where(mine).values(gone)).rowcount


def unblock(connection: Connection, job: str, done: str) -> None:
    """Count down what the steps that need *done* wait for. The job must be locked."""
    definition = connection.execute(select(jobs.c.definition).where(jobs.c.id == job)).scalar_one()
    waiting = [step.name for step in definition.steps if done in step.needs]
    mine = (steps.c.job == job) & steps.c.name.in_(waiting)
    connection.execute(update(steps).where(mine).values(waiting=steps.c.waiting - 1))


class LostStep(NamedTuple):
    """A step whose worker was lost and that will not run again; ``error`` is None when its job had ended anyway."""

    job: str
    pipeline: str
    step: str
    attempt: int
    error: str | None


def end_lost(connection: Connection, row: Row[Any], max_losses: int, now: datetime) -> LostStep | None:
    """Settle a step whose lease ran out and that must not run again; None when it is not so.

    It must not when its job has ended, or when it may be the step itself that kills its workers.
    """
    if row.state != "leased":
        return None
    job = connection.execute(select(jobs.c.status, jobs.c.pipeline).where(jobs.c.id == row.job)).one()
    ended = job.status != "running"
    if not ended and row.losses + 1 < max_losses:
        return None
    error = None if ended else f"its worker was lost {max_losses} times: does the step need more memory than there is?"
    values = {
        "state": "cancelled" if ended else "failed",
        "owner": None,
        "lease_until": None,
        "error": error,
        "ended": now,
    }
    connection.execute(update(steps).where(_is(row.job, row.name)).values(values))
    if error is not None:
        fail_job(connection, row.job, f"step {row.name} failed: {error}", now)
    return LostStep(row.job, job.pipeline, row.name, row.attempt, error)


def fail_job(connection: Connection, job: str, error: str, now: datetime) -> None:
    """Let a job fail: what waits is cancelled, what runs may still be done, so that a retry need not do it again."""
    cancel_steps(connection, job, ("pending",), now)
    set_job(connection, job, "failed", now, error)


def cancel_steps(connection: Connection, job: str, states: Sequence[str], now: datetime) -> None:
    """Cancel those steps of a job that are in one of these states."""
    mine = (steps.c.job == job) & steps.c.state.in_(states)
    values = {"state": "cancelled", "owner": None, "lease_until": None, "ended": now}
    connection.execute(update(steps).where(mine).values(values))


def revive_steps(connection: Connection, job: str, now: datetime) -> None:
    """Make failed and cancelled steps of a job pending, waiting for those of their needs that are not done."""
    rows = connection.execute(select(steps.c.name, steps.c.state, steps.c.definition).where(steps.c.job == job)).all()
    done = {row.name for row in rows if row.state == "done"}
    for row in rows:
        if row.state in ("failed", "cancelled"):
            fresh = {"state": "pending", "failures": 0, "losses": 0, "error": None, "ended": None, "not_before": now}
            waiting = len(set(row.definition.needs) - done)
            connection.execute(update(steps).where(_is(job, row.name)).values(**fresh, waiting=waiting))


def _is(job: str, name: str) -> ColumnElement[bool]:
    return (steps.c.job == job) & (steps.c.name == name)


# Logs


def save_log(connection: Connection, log: StepLog) -> None:
    """Keep what an attempt wrote, instead of what was kept of it before."""
    row = {"job": log.job, "step": log.step, "attempt": log.attempt, "text": log.text, "traceback": log.traceback}
    upsert(connection, logs, row, keys=["job", "step", "attempt"])


def find_logs(connection: Connection, job: str, step: str | None) -> list[StepLog]:
    """List the logs of a job, or of one of its steps, oldest attempt first."""
    query = select(logs).where(logs.c.job == job).order_by(logs.c.step, logs.c.attempt)
    if step is not None:
        query = query.where(logs.c.step == step)
    return [StepLog(*row) for row in connection.execute(query)]
