"""The verbs of protected aliases: policies, protections, requests and the votes on them."""

from __future__ import annotations

from mainspring.core.actor import current_actor
from mainspring.core.errors import Conflict, Forbidden, InvalidRequest, NotFound
from mainspring.core.operations import operation
from mainspring.core.refs import Ref, check_alias, check_name
from mainspring.registry import store as registry_store
from mainspring.registry.gate_model import GatePolicy, GateReport
from mainspring.registry.model import CHAMPION, ModelVersion
from mainspring.registry.protection import store
from mainspring.registry.protection.events import AliasProtected, CheckRecorded, PolicyDefined, PromotionJudged
from mainspring.registry.protection.guard import unmet
from mainspring.registry.protection.model import (
    NamedPolicy,
    PolicyContent,
    PromotionRequest,
    Protection,
    RecordedCheck,
    Requirement,
    Vote,
)
from mainspring.registry.protection.requirements import policy_of, requirements
from mainspring.registry.service import Registry
from mainspring.registry.transitions import alias_ref, point, promote
from mainspring.storage.sql.journal import emit

MAX_PAGE, MAX_APPROVALS = 1000, 20


class Promotions:
    """How versions come under aliases that are protected."""

    def __init__(self, registry: Registry) -> None:
        self.registry, self.database, self.clock = registry, registry.database, registry.clock

    # Policies

    @operation("PUT /gate-policies/{name}")
    def define_policy(self, name: str, policy: PolicyContent) -> NamedPolicy:
        """Give a policy its next version; one with the content of the latest version is that one."""
        check_name(name, "gate policy")
        with self.database.begin() as connection:
            last = store.find_policy(connection, name, None)
            if last is not None and last.content == policy:
                return last
            number, actor = (0 if last is None else last.version) + 1, current_actor().name
            made = NamedPolicy(name=name, version=number, content=policy, at=self.clock.now(), actor=actor)
            if not store.add_policy(connection, made):
                raise Conflict(f"somebody else defined version {number} of {name} at this moment; look and try again")
            emit(connection, PolicyDefined(policy=made.ref))
            return made

    @operation("GET /gate-policies")
    def list_policies(self, limit: int = 100) -> list[NamedPolicy]:
        """List the policies with all their versions, the newest of each first."""
        with self.database.read() as connection:
            return store.list_policies(connection, _bounded(limit))

    @operation("GET /gate-policies/{name}")
    def get_policy(self, name: str, version: int | None = None) -> NamedPolicy:
        """Get a version of a policy, the latest where none is named; raises NotFound."""
        with self.database.read() as connection:
            return policy_of(connection, str(Ref("gate_policy", check_name(name, "gate policy"), version=version)))

    # Protecting

    @operation("PUT /models/{name}/protections/{alias}")
    def protect(self, name: str, alias: str, gates: str | None = None, approvals: int = 0) -> Protection:
        """Let an alias move only to versions that pass the policy *gates* and that so many others approve of.

        *gates* names a policy: ``strict`` for the latest version of it at any time, ``strict@2`` for that one. Where
        ``champion`` is protected so is the stage production. It replaces an earlier protection. Raises NotFound for
        an unknown model or policy, InvalidRequest when nothing is asked for.
        """
        check_alias(alias)
        if gates is None and not approvals:
            raise InvalidRequest("a protection asks for something: give --gates POLICY, --approvals NUMBER, or both")
        if not 0 <= approvals <= MAX_APPROVALS:
            raise InvalidRequest(f"approvals={approvals}: expected 0 to {MAX_APPROVALS}")
        wanted = None if gates is None else str(Ref.parse(gates, kind="gate_policy"))
        with self.database.begin() as connection:
            registry_store.lock_model(connection, name)
            registry_store.require_model(connection, name)
            if wanted is not None:
                policy_of(connection, wanted)
            made = Protection(
                name=name,
                alias=alias,
                gates=wanted,
                approvals=approvals,
                at=self.clock.now(),
                actor=current_actor().name,
            )
            store.protect(connection, made)
            emit(connection, AliasProtected(alias=alias_ref(name, alias), gates=wanted, approvals=approvals))
            return made

    @operation("DELETE /models/{name}/protections/{alias}")
    def unprotect(self, name: str, alias: str, reason: str = "") -> None:
        """Let an alias move freely again, for a reason that is kept in the audit log; raises NotFound.

        Raises InvalidRequest without a reason.
        """
        if not reason.strip():
            raise InvalidRequest("say with --reason why the alias needs no protection any more")
        with self.database.begin() as connection:
            registry_store.lock_model(connection, name)
            if not store.unprotect(connection, name, alias):
                raise NotFound(f"the alias {alias} of model {name} is not protected", name=name, alias=alias)
            event = AliasProtected(alias=alias_ref(name, alias), gates=None, approvals=0, reason=reason)
            emit(connection, event)

    @operation("GET /models/{name}/protections")
    def list_protections(self, name: str) -> list[Protection]:
        """List the protected aliases of a model."""
        with self.database.read() as connection:
            return store.protections_of(connection, name)

    @operation("GET /models/{name}/versions/{version}/requirements")
    def requirements(self, name: str, version: int, alias: str = CHAMPION) -> list[Requirement]:
        """List what a protected alias asks of a version, what of it is there, and the command for what is missing.

        Nothing for an alias that is not protected. Raises NotFound.
        """
        with self.database.read() as connection:
            found = registry_store.require_version(connection, name, version)
            protection = store.protection_of(connection, name, alias)
            if protection is None:
                return []
            return requirements(connection, protection, found, self.registry.rows)

    # Measuring

    @operation("POST /models/{name}/versions/{version}/gates")
    def evaluate(
        self,
        name: str,
        version: int,
        dataset: str | None = None,
        truth: str | None = None,
        alias: str = CHAMPION,
        gates: str | None = None,
    ) -> GateReport:
        """Measure the gates of a version on the rows of *dataset*, against the version that *alias* points to.

        *gates* names the policy (default: that of the protected alias, else the plain gates); *dataset* (such as
        ``dataset:trips@3``) and *truth*, its column with the right answers, default to those of the policy, and the
        column to the target of the model. Raises NotFound, InvalidRequest when rows or column are not known,
        InvalidData when columns are missing.
        """
        policy = self._policy(name, alias, gates)
        content = PolicyContent() if policy is None else policy.content
        found = self.registry.get_version(name, version).servable()
        rows, column = dataset or content.holdout, truth or content.target or found.info.target
        if rows is None or column is None or self.registry.rows is None:
            raise InvalidRequest("say what to measure on: --dataset dataset:NAME@VERSION and --truth COLUMN")
        return self.registry.evaluate_gates(
            name,
            version,
            self.registry.rows.holdout(rows, column),
            alias=alias,
            policy=content.measured or GatePolicy(),
            under=None if policy is None else policy.ref,
        )

    def gates_of(self, name: str, alias: str = CHAMPION) -> NamedPolicy | None:
        """Give the policy that protects an alias, for whoever measures by other means."""
        return self._policy(name, alias, None)

    @operation("POST /models/{name}/versions/{version}/checks")
    def record_check(
        self, name: str, version: int, suite: str, passed: bool, detail: str, value: float | None = None
    ) -> RecordedCheck:
        """Write down what a suite outside of the registry found for a version, such as one for safety.

        A policy that names the suite asks for its latest check to have passed. Raises NotFound.
        """
        check_name(suite, "suite")
        made = RecordedCheck(
            suite=suite, passed=passed, detail=detail, value=value, at=self.clock.now(), actor=current_actor().name
        )
        with self.database.begin() as connection:
            found = registry_store.require_version(connection, name, version)
            store.add_check(connection, name, version, made)
            emit(connection, CheckRecorded(model=found.ref, suite=suite, passed=passed, detail=detail))
        return made

    # Requests

    @operation("GET /promotion-requests")
    def list_requests(self, name: str | None = None, pending: bool = True, limit: int = 100) -> list[PromotionRequest]:
        """List the requests that wait (or, without *pending*, all), of one model or of every one, newest first."""
        with self.database.read() as connection:
            return store.list_requests(connection, name, "pending" if pending else None, _bounded(limit))

    @operation("POST /models/{name}/versions/{version}/approve")
    def approve(self, name: str, version: int, alias: str = CHAMPION, comment: str = "") -> PromotionRequest:
        """Approve that a version comes under a protected alias; it does so at once when nothing else is missing.

        Raises Forbidden for who asked for it, NotFound when nobody has.
        """
        with self.database.begin() as connection:
            request, found = self._judged(connection, name, version, alias, True, comment)
            protection = store.protection_of(connection, name, alias)
            if protection is None or not unmet(connection, protection, found, self.registry.rows):
                self._carry_out(connection, request, found)
        return self._request(request.id)

    @operation("POST /models/{name}/versions/{version}/reject")
    def reject(self, name: str, version: int, alias: str = CHAMPION, comment: str = "") -> PromotionRequest:
        """Reject that a version comes under a protected alias: the request ends. Raises NotFound when nobody asked.

        Who asked for it may take it back in this way.
        """
        with self.database.begin() as connection:
            request, _ = self._judged(connection, name, version, alias, False, comment)
            store.set_status(connection, request, "rejected")
        return self._request(request.id)

    # Steps

    def _judged(
        self, connection: store.Connection, name: str, version: int, alias: str, approved: bool, comment: str
    ) -> tuple[PromotionRequest, ModelVersion]:
        registry_store.lock_model(connection, name)
        found = registry_store.require_version(connection, name, version)
        request = store.pending_request(connection, name, version, alias)
        if request is None:
            raise NotFound(
                f"nobody has asked for {found.ref} to come under {alias}; "
                f"`mainspring model promote {name} {version}` asks"
            )
        actor = current_actor().name
        if approved and actor == request.actor:
            raise Forbidden(
                f"{actor} asked for {found.ref} to come under {alias}, and somebody else has to approve of it",
                actor=actor,
            )
        said = Vote(actor=actor, approved=approved, at=self.clock.now(), comment=comment)
        store.vote(connection, request, said)
        event = PromotionJudged(
            request=request.ref, model=found.ref, alias=alias_ref(name, alias), approved=approved, comment=comment
        )
        emit(connection, event)
        return request, found

    def _carry_out(self, connection: store.Connection, request: PromotionRequest, version: ModelVersion) -> None:
        now = self.clock.now()
        previous = registry_store.require_model(connection, request.name).aliases.get(request.alias)
        if request.promotes and previous != version.version:
            promote(connection, version, request.alias, previous, None, None, now)
        else:
            point(connection, version, request.alias, request.reason or f"approved: {request.ref}", now)
        store.set_status(connection, request, "done")

    def _request(self, id: str) -> PromotionRequest:
        with self.database.read() as connection:
            return store.get_request(connection, id)

    def _policy(self, name: str, alias: str, gates: str | None) -> NamedPolicy | None:
        with self.database.read() as connection:
            if gates is None:
                protection = store.protection_of(connection, name, alias)
                gates = None if protection is None else protection.gates
            return None if gates is None else policy_of(connection, str(Ref.parse(gates, kind="gate_policy")))


def _bounded(limit: int) -> int:
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidRequest(f"limit={limit}: expected 1 to {MAX_PAGE}")
    return limit
