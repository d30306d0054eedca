"""Decide when an endpoint's pipeline is started: on drift, on lost quality, on volume, by the clock, or by hand.

A decision is a row, the firing, written together with its event; the pipeline is started from that row with the
firing's id as token. A process that dies between the two is made good by the next `drive`: the start is repeated with
the same token, which the pipelines know, so it is neither lost nor doubled.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

import msgspec

from mainspring.core.actor import current_actor
from mainspring.core.clock import Clock, SystemClock
from mainspring.core.errors import Conflict, InvalidRequest, MainspringError, NotFound
from mainspring.core.events import Recorded
from mainspring.core.ids import new_id
from mainspring.core.operations import operation
from mainspring.core.refs import check_name
from mainspring.monitoring.service import Monitoring
from mainspring.pipelines.model import Job, Pipeline
from mainspring.predictions.log import PredictionLog
from mainspring.runtime.periodic import each
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import emit
from mainspring.triggers import store
from mainspring.triggers.events import (
    EvaluationFailed,
    FiringApproved,
    FiringFailed,
    FiringRejected,
    RetrainingStarted,
    TriggerFired,
    TriggerPolicySet,
)
from mainspring.triggers.model import Evidence, Firing, Outcome, Policy
from mainspring.triggers.rules import Situation, cooling, holds

EVENTS = ("WindowChecked",)
"""The kinds of events after which an endpoint is evaluated; see `Triggers.on_event`."""

_LOOKED_AT = 200


class Jobs(Protocol):
    """Where pipelines are started; a token that was seen before gives the job of then."""

    def start(self, pipeline: Pipeline, parameters: dict[str, Any] | None = None, token: str | None = None) -> Job: ...

    def get(self, job: str) -> Job: ...


class Triggers:
    """Keeps one policy for each endpoint, decides by it, and starts what was decided."""

    def __init__(
        self,
        database: Database,
        jobs: Jobs,
        monitoring: Monitoring,
        log: PredictionLog,
        *,
        clock: Clock | None = None,
        hold: Callable[[str], str | None] = lambda endpoint: None,
    ) -> None:
        """Decide by what *monitoring* and *log* know; *hold* says why an endpoint must wait, or None."""
        self._database, self._jobs, self._monitoring, self._log = database, jobs, monitoring, log
        self._clock, self._hold = clock or SystemClock(), hold
        self._wrong: dict[str, str] = {}

    @operation("PUT /endpoints/{endpoint}/triggers")
    def set_policy(self, endpoint: str, policy: Policy) -> Policy:
        """Say when the endpoint's pipeline is to be started, and with what."""
        check_name(endpoint, "endpoint")
        with self._database.begin() as connection:
            store.set_policy(connection, endpoint, policy, self._clock.now())
            emit(connection, TriggerPolicySet(endpoint=endpoint))
        return policy

    @operation("GET /endpoints/{endpoint}/triggers")
    def policy(self, endpoint: str) -> Policy:
        """Give the policy of an endpoint; raises NotFound when it has none."""
        with self._database.read() as connection:
            found = store.policy(connection, endpoint)
        if found is None:
            raise NotFound(f"endpoint {endpoint} has no trigger policy; set one", endpoint=endpoint)
        return found[0]

    @operation("POST /endpoints/{endpoint}/triggers/evaluate")
    def evaluate(self, endpoint: str, now: datetime | None = None) -> Outcome:
        """Decide whether a rule of the policy holds, and if so fire and start the pipeline.

        *now* is the time by which schedules and cooldowns are measured (a replay gives that of its traffic). Nothing
        fires while an earlier firing waits or its job runs. Raises NotFound when the endpoint has no policy.
        """
        policy = self.policy(endpoint)
        with self._database.read() as connection:
            last = next(iter(store.latest(connection, endpoint)), None)
        if (reason := self._busy(last) or self._hold(endpoint)) is not None:
            return Outcome(endpoint=endpoint, reason=reason)
        mark = self._log.last_mark()
        release, situation = self._situation(endpoint, policy, last, now or self._clock.now())
        if (reason := cooling(policy, situation, last is not None)) is not None:
            return Outcome(endpoint=endpoint, reason=reason)
        found = holds(policy, situation)
        if found is None:
            return Outcome(endpoint=endpoint, reason="no rule holds")
        firing = Firing(
            id=new_id(),
            endpoint=endpoint,
            trigger=found[0],
            status="pending" if policy.require_approval else "due",
            evidence=found[1],
            at=situation.now,
            release=release,
            mark=mark,
            report=max([report.id for report in situation.reports], default=last.report if last else ""),
        )
        if not self._insert(firing, last):
            return Outcome(endpoint=endpoint, reason="another process decided meanwhile")
        return Outcome(endpoint=endpoint, firing=self._started(firing), reason=firing.evidence.reasons[0])

    @operation("POST /endpoints/{endpoint}/triggers/fire")
    def fire(self, endpoint: str, reason: str, now: datetime | None = None, token: str | None = None) -> Firing:
        """Start the endpoint's pipeline by hand: no cooldown, and whoever calls has approved it.

        Raises NotFound when the endpoint has no policy, which names the pipeline.
        """
        self.policy(endpoint)
        firing = Firing(
            id=new_id(),
            endpoint=endpoint,
            trigger="manual",
            status="due",
            evidence=Evidence(reasons=[reason]),
            at=now or self._clock.now(),
            release=self._release(endpoint),
            mark=self._log.last_mark(),
            report=next((report.id for report in self._monitoring.windows(endpoint, limit=1)), ""),
        )
        with self._database.begin() as connection:
            store.policy(connection, endpoint, lock=True)
            known = None if token is None else store.by_token(connection, token)
            if known is None:
                self._write(connection, firing, token)
        return self._started(known or firing)

    @operation("GET /endpoints/{endpoint}/firings")
    def firings(self, endpoint: str, limit: int = 50) -> list[Firing]:
        """List the newest firings of an endpoint first, with their evidence and what became of them."""
        if not 1 <= limit <= 1000:
            raise InvalidRequest("limit must be from 1 to 1000")
        with self._database.read() as connection:
            return store.latest(connection, endpoint, limit)

    @operation("GET /firings/{id}")
    def firing(self, id: str) -> Firing:
        """Give one firing; raises NotFound when there is none of the id."""
        with self._database.read() as connection:
            found = store.by_id(connection, id)
        if found is None:
            raise NotFound(f"there is no firing {id}; list those of an endpoint", id=id)
        return found

    @operation("POST /firings/{id}/approve")
    def approve(self, id: str) -> Firing:
        """Approve a firing that waits for it, and start its pipeline. Raises Conflict when it was rejected."""
        firing = self.firing(id)
        if firing.status == "rejected":
            raise Conflict(f"firing {id} was rejected by {firing.decided_by}; fire by hand instead", id=id)
        if firing.status == "pending":
            approved = msgspec.structs.replace(firing, status="due", decided_by=current_actor().name)
            with self._database.begin() as connection:
                if store.change(connection, approved, "pending"):
                    emit(connection, FiringApproved(endpoint=firing.endpoint, firing=firing.ref))
        return self._started(self.firing(id))

    @operation("POST /firings/{id}/reject")
    def reject(self, id: str, reason: str = "") -> Firing:
        """Reject a firing that waits; the cooldown counts all the same. Raises Conflict if it started."""
        firing = self.firing(id)
        if firing.status == "rejected":
            return firing
        rejected = msgspec.structs.replace(
            firing, status="rejected", decided_by=current_actor().name, note=reason or None
        )
        with self._database.begin() as connection:
            if not store.change(connection, rejected, "pending"):
                raise Conflict(f"firing {id} is {firing.status}: only one that waits can be rejected", id=id)
            emit(connection, FiringRejected(endpoint=firing.endpoint, firing=firing.ref, reason=reason))
        return rejected

    def on_event(self, event: Recorded) -> None:
        """Evaluate the endpoint that an event of `EVENTS` is about; for the outbox, which may deliver it again."""
        endpoint = event.body.get("endpoint")
        if isinstance(endpoint, str) and endpoint in self._endpoints():
            self.evaluate(endpoint)

    def tick(self) -> list[Outcome]:
        """Evaluate every endpoint, for schedules and volumes, after starting what was decided but not started.

        What is wrong with one endpoint is logged, told in its outcome and, when it begins, in an event; the others are
        evaluated all the same.
        """
        self.drive()
        found, wrong = each("triggers of", self._endpoints(), self.evaluate)
        self._tell(dict(wrong))
        return found + [Outcome(endpoint=endpoint, error=error) for endpoint, error in wrong]

    def drive(self) -> list[Firing]:
        """Start the pipelines of firings that were decided but not started, as after a crash; gives those it could."""
        with self._database.read() as connection:
            waiting = {firing.ref: firing for firing in store.due(connection)}
        return each("start of", waiting, lambda ref: self._started(waiting[ref]))[0]

    def _tell(self, wrong: dict[str, str]) -> None:
        new = {endpoint: error for endpoint, error in wrong.items() if self._wrong.get(endpoint) != error}
        if new:
            with self._database.begin() as connection:
                for endpoint, error in new.items():
                    emit(connection, EvaluationFailed(endpoint=endpoint, error=error))
        self._wrong = wrong

    def _endpoints(self) -> list[str]:
        with self._database.read() as connection:
            return store.endpoints(connection)

    def _busy(self, last: Firing | None) -> str | None:
        if last is None:
            return None
        if last.status == "pending":
            return f"{last.ref} waits for approval"
        if last.status == "due":
            self._started(last)
            return f"{last.ref} is being started"
        if last.job is not None and self._jobs.get(last.job.partition(":")[2]).status == "running":
            return f"{last.job} of {last.ref} still runs"
        return None

    def _situation(
        self, endpoint: str, policy: Policy, last: Firing | None, now: datetime
    ) -> tuple[str | None, Situation]:
        release, seen = self._release(endpoint), last.report if last is not None else ""
        reports = [r for r in self._monitoring.windows(endpoint, limit=_LOOKED_AT) if r.release == release]
        predictions = labels = 0
        if policy.volume is not None:
            predictions, labels = self._log.counts(endpoint, last.mark if last is not None else 0)
        with self._database.read() as connection:
            found = store.policy(connection, endpoint)
            firings = store.count_on(connection, endpoint, release)
        since = last.at if last is not None else found[1] if found is not None else now
        return release, Situation(
            now=now,
            since=since,
            reports=[report for report in reports if report.id > seen],
            predictions=predictions,
            labels=labels,
            firings_on_release=firings,
            before=[report for report in reports if report.id <= seen],
        )

    def _release(self, endpoint: str) -> str | None:
        if endpoint not in self._monitoring.monitored():
            return None
        return self._monitoring.reference(endpoint).release

    def _insert(self, firing: Firing, last: Firing | None) -> bool:
        with self._database.begin() as connection:
            store.policy(connection, firing.endpoint, lock=True)
            newest = next(iter(store.latest(connection, firing.endpoint)), None)
            if (newest and newest.id) != (last and last.id):
                return False
            self._write(connection, firing, None)
        return True

    def _write(self, connection: Any, firing: Firing, token: str | None) -> None:
        store.insert(connection, firing, token)
        emit(
            connection,
            TriggerFired(
                endpoint=firing.endpoint,
                firing=firing.ref,
                trigger=firing.trigger,
                reasons=firing.evidence.reasons,
                alarms=firing.evidence.alarms,
                needs_approval=firing.status == "pending",
            ),
        )

    def _started(self, firing: Firing) -> Firing:
        if firing.status != "due":
            return firing
        policy = self.policy(firing.endpoint)
        parameters = {**policy.parameters, "firing": firing.id}
        try:
            job = self._jobs.start(policy.pipeline, parameters, f"firing:{firing.id}")
        except MainspringError as error:
            return self._failed(firing, error)
        started = msgspec.structs.replace(firing, status="started", job=job.ref)
        with self._database.begin() as connection:
            if store.change(connection, started, "due"):
                emit(connection, RetrainingStarted(endpoint=firing.endpoint, firing=firing.ref, job=job.ref))
        return self.firing(firing.id)

    def _failed(self, firing: Firing, error: MainspringError) -> Firing:
        if error.retryable:
            # It stays due: the next `drive` tries again.
            return firing
        failed = msgspec.structs.replace(firing, status="failed", note=str(error))
        with self._database.begin() as connection:
            if store.change(connection, failed, "due"):
                emit(connection, FiringFailed(endpoint=firing.endpoint, firing=firing.ref, error=str(error)))
        return self.firing(firing.id)
