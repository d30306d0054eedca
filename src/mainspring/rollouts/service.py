"""The verbs of rollouts: start one, look at it, see it, stop it."""

from __future__ import annotations

from typing import Protocol

import msgspec

from mainspring.core.clock import Clock, SystemClock
from mainspring.core.errors import Conflict, InvalidRequest, MainspringError, NotFound
from mainspring.core.ids import new_id
from mainspring.core.operations import operation
from mainspring.core.refs import check_name, ref
from mainspring.rollouts import store
from mainspring.rollouts.events import RolloutEnded, RolloutStarted
from mainspring.rollouts.judging import judge, slow_from, with_slow
from mainspring.rollouts.model import Asked, Look, Pending, Progress, Reading, Rollout, RolloutPolicy, Status
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import emit

MAX_ROLLOUTS = 1_000
Looks = list[Look]
RolloutList = list[Rollout]


class Trial(Protocol):
    """A release that was deployed."""

    @property
    def ref(self) -> str: ...


class Served(Protocol):
    """The releases that an endpoint serves."""

    @property
    def stable(self) -> str | None: ...

    @property
    def canary(self) -> str | None: ...


class Canaries(Protocol):
    """What a rollout does to an endpoint; each verb may be called again with the same arguments, to no effect."""

    def deploy(self, endpoint: str, model: str, canary: float | None = None, *, token: str | None = None) -> Trial: ...

    def get(self, endpoint: str) -> Served: ...

    def set_share(self, endpoint: str, share: float, release: str | None = None, reason: str = "") -> Served: ...

    def promote_canary(self, endpoint: str, release: str | None = None, reason: str = "") -> Served: ...

    def drop_canary(self, endpoint: str, release: str | None = None, reason: str = "") -> Served: ...


class ArmStatistics(Protocol):
    """Counts what the arms of an endpoint have done."""

    def read(self, endpoint: str, asked: Asked) -> Reading:
        """Count what both releases have answered; counts of one rollout never shrink from call to call."""
        ...


class Rollouts:
    """Rollouts in *database*, of canaries that *canaries* deploys, judged by what *statistics* counts."""

    def __init__(
        self, database: Database, canaries: Canaries, statistics: ArmStatistics, clock: Clock | None = None
    ) -> None:
        self.database = database
        self.clock = clock or SystemClock()
        self._canaries = canaries
        self._statistics = statistics

    @operation("POST /endpoints/{endpoint}/rollouts")
    def start(
        self, endpoint: str, candidate: str, policy: RolloutPolicy | None = None, token: str | None = None
    ) -> Rollout:
        """Deploy *candidate* as a canary with the first share of the policy; `look` takes it from there.

        A second call with the same *token* gives the first rollout. Raises Conflict while another rollout or canary of
        the endpoint goes on, InvalidRequest for a policy that makes no sense, and what `Releases.deploy` raises.
        """
        check_name(endpoint, "endpoint")
        policy = (policy or RolloutPolicy()).checked()
        now = self.clock.now()
        rollout = Rollout(
            id=new_id(),
            endpoint=endpoint,
            candidate=candidate,
            policy=policy,
            status="starting",
            progress=Progress(step_began=now),
            started=now,
        )
        with self.database.begin() as connection:
            done = None if token is None else store.find_by_token(connection, token)
            if done is None and not store.insert_rollout(connection, rollout, token):
                raise Conflict(f"a rollout goes on at endpoint {endpoint}: wait for its end or abort it")
        rollout = done or rollout
        return self._deploy(rollout) if rollout.status == "starting" else rollout

    @operation("POST /endpoints/{endpoint}/rollouts/look")
    def look(self, endpoint: str) -> Look | None:
        """Look at the rollout that goes on, decide, and do what was decided; None when there was nothing to decide.

        Call it as often as you like: often finds harm early, and no number of looks makes a false alarm likelier than
        the policy's alpha. There is nothing to decide when the rollout was just begun, or was ended by somebody else.
        Raises NotFound when no rollout goes on.
        """
        rollout = self.status(endpoint)
        if not rollout.active:
            raise NotFound(f"no rollout goes on at endpoint {endpoint}; the last one: {rollout.status}")
        if rollout.status == "starting":
            self._deploy(rollout)
            return None
        served = self._canaries.get(endpoint)
        if rollout.pending is not None and _can_be_done(rollout, served):
            self._carry_out(rollout)
            return None
        if served.canary != rollout.release:
            self._end(rollout, "superseded", "the canary was promoted, dropped or rolled back by somebody else")
            return None
        rollout, reading = self._read(rollout)
        look, progress = judge(rollout, reading, self.clock.now())
        pending: Pending | None = None if look.decision == "continue" else look.decision
        looked = msgspec.structs.replace(rollout, progress=progress, pending=pending, reason=look.reason)
        with self.database.begin() as connection:
            present = store.lock_rollout(connection, rollout.id)
            if present.progress.looks != rollout.progress.looks or present.status != "running" or present.pending:
                return None  # Somebody else looked, or decided, at the same time.
            store.insert_look(connection, rollout.id, look)
            store.update_rollout(connection, looked)
        if pending is not None:
            self._carry_out(looked)
        return look

    @operation("GET /endpoints/{endpoint}/rollouts/latest")
    def status(self, endpoint: str) -> Rollout:
        """Get the rollout that goes on, or the last one; raises NotFound."""
        with self.database.read() as connection:
            return store.find_latest(connection, endpoint)

    @operation("GET /endpoints/{endpoint}/rollouts")
    def list(self, endpoint: str, limit: int = 100) -> RolloutList:
        """List the rollouts of an endpoint, the newest first."""
        if not 1 <= limit <= MAX_ROLLOUTS:
            raise InvalidRequest(f"limit is {limit}, expected 1 to {MAX_ROLLOUTS}", limit=limit)
        with self.database.read() as connection:
            return store.find_rollouts(connection, endpoint, limit)

    @operation("GET /rollouts/active")
    def active(self) -> RolloutList:
        """List the rollouts of all endpoints that go on: those to look at."""
        with self.database.read() as connection:
            return store.find_active(connection)

    @operation("GET /rollouts/{rollout}/looks")
    def looks(self, rollout: str) -> Looks:
        """List the looks at a rollout with their evidence, the first first."""
        with self.database.read() as connection:
            return store.find_looks(connection, rollout)

    @operation("POST /endpoints/{endpoint}/rollouts/abort")
    def abort(self, endpoint: str, reason: str = "") -> Rollout:
        """Stop the rollout that goes on and drop its canary; raises NotFound when none goes on."""
        rollout = self.status(endpoint)
        if not rollout.active:
            raise NotFound(f"no rollout goes on at endpoint {endpoint}; the last one: {rollout.status}")
        if rollout.status == "starting":
            rollout = self._deploy(rollout)  # It may be deployed already: only so is its canary known.
        with self.database.begin() as connection:
            rollout = store.lock_rollout(connection, rollout.id)
            if rollout.active:
                # Said before it is done: who finds the canary gone, after a crash too, knows what became of it.
                rollout = msgspec.structs.replace(rollout, pending="abort", reason=reason)
                store.update_rollout(connection, rollout)
        return self._abort(rollout) if rollout.active else rollout

    def _deploy(self, rollout: Rollout) -> Rollout:
        try:
            trial = self._canaries.deploy(
                rollout.endpoint, rollout.candidate, rollout.policy.steps[0], token=f"rollout:{rollout.id}"
            )
        except MainspringError as error:
            if not error.retryable:
                self._end(rollout, "failed", str(error))
            raise
        now = self.clock.now()
        running = msgspec.structs.replace(
            rollout,
            status="running",
            release=trial.ref,
            stable=self._canaries.get(rollout.endpoint).stable,
            started=now,
            progress=msgspec.structs.replace(rollout.progress, step_began=now),
        )
        with self.database.begin() as connection:
            present = store.lock_rollout(connection, rollout.id)
            if present.status != "starting":
                return present
            store.update_rollout(connection, running)
            event = RolloutStarted(
                rollout=rollout.ref,
                endpoint=ref("endpoint", rollout.endpoint),
                candidate=rollout.candidate,
                release=trial.ref,
            )
            emit(connection, event)
        return running

    def _read(self, rollout: Rollout) -> tuple[Rollout, Reading]:
        """Read the arms; as soon as the stable arm has shown how slow is slow, begin to compare latencies."""
        reading = self._count(rollout)
        if rollout.progress.slow_us is None and (slow_us := slow_from(rollout.policy, reading.stable)):
            asked = msgspec.structs.replace(
                rollout, progress=msgspec.structs.replace(rollout.progress, slow_us=slow_us)
            )
            reading = self._count(asked)
            progress = with_slow(rollout.progress, slow_us, reading)
            rollout = msgspec.structs.replace(rollout, progress=progress)
        return rollout, reading

    def _count(self, rollout: Rollout) -> Reading:
        asked = Asked(
            stable=rollout.stable or "",
            canary=rollout.release or "",
            since=rollout.started,
            step_since=rollout.progress.step_began or rollout.started,
            slow_us=rollout.progress.slow_us,
            quantile=rollout.policy.latency_quantile,
        )
        return self._statistics.read(rollout.endpoint, asked)

    def _carry_out(self, rollout: Rollout) -> None:
        """Do what the last look decided: again, when a process died between deciding and doing."""
        endpoint, release, reason = rollout.endpoint, rollout.release, rollout.reason
        if rollout.pending == "grow":
            self._canaries.set_share(endpoint, rollout.share, release, reason)
            began = msgspec.structs.replace(rollout.progress, step_began=self.clock.now())
            done = msgspec.structs.replace(rollout, pending=None, progress=began)
            with self.database.begin() as connection:
                if store.lock_rollout(connection, rollout.id).pending == "grow":
                    store.update_rollout(connection, done)
            return
        if rollout.pending == "abort":
            self._abort(rollout)
            return
        if rollout.pending == "promote":
            self._canaries.promote_canary(endpoint, release, reason)
            self._end(rollout, "promoted", reason)
            return
        self._canaries.drop_canary(endpoint, release, reason)
        self._end(rollout, "rolled_back", reason)

    def _abort(self, rollout: Rollout) -> Rollout:
        if rollout.release is not None and self._canaries.get(rollout.endpoint).canary == rollout.release:
            self._canaries.drop_canary(rollout.endpoint, rollout.release, rollout.reason or "the rollout was aborted")
        return self._end(rollout, "aborted", rollout.reason)

    def _end(self, rollout: Rollout, status: Status, reason: str) -> Rollout:
        ended = msgspec.structs.replace(rollout, status=status, reason=reason, pending=None, ended=self.clock.now())
        with self.database.begin() as connection:
            present = store.lock_rollout(connection, rollout.id)
            if not present.active:
                return present
            store.update_rollout(connection, ended)
            looks = store.find_looks(connection, rollout.id)
            event = RolloutEnded(
                rollout=rollout.ref,
                endpoint=ref("endpoint", rollout.endpoint),
                candidate=rollout.candidate,
                outcome=status,
                reason=reason,
                evidence=msgspec.to_builtins(looks[-1]) if looks else {},
            )
            emit(connection, event)
        return ended


def _can_be_done(rollout: Rollout, served: Served) -> bool:
    """Tell whether what is pending can still be done, or was done already; not after somebody else ended the trial."""
    if served.canary == rollout.release:
        return True
    promoted = served.stable == rollout.release
    return promoted if rollout.pending == "promote" else rollout.pending in ("rollback", "abort") and not promoted
