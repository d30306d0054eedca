"""The verbs of the registry: register versions, move stages and aliases, measure gates, promote."""

from __future__ import annotations

from mainspring.core.clock import Clock, SystemClock
from mainspring.core.errors import AlreadyExists, InvalidRequest, NotFound
from mainspring.core.operations import operation
from mainspring.core.refs import Ref, check_alias, check_free_name
from mainspring.registry import promoting, store, transitions
from mainspring.registry.adding import add_model, add_version, tag_model, tag_version
from mainspring.registry.evaluating import evaluate, evaluated
from mainspring.registry.events import ModelTrusted
from mainspring.registry.gate_model import GatePolicy, GateReport, Holdout
from mainspring.registry.gates import Scorer
from mainspring.registry.importing import import_model
from mainspring.registry.model import CHAMPION, AliasMove, Model, ModelVersion, ServableVersion, Stage, StageChange
from mainspring.registry.protection import guard
from mainspring.registry.protection.guard import Rows
from mainspring.registry.protection.model import NamedPolicy
from mainspring.registry.scanning.guarding import let_pass, look_through
from mainspring.registry.signature import Task
from mainspring.storage.objects.store import ObjectStore
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import emit

MAX_PAGE = 1000


class Registry:
    """Models and versions, kept in *database*; their files in *objects*. *scorer* opens versions for the gates."""

    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        scorer: Scorer | None = None,
        clock: Clock | None = None,
        rows: Rows | None = None,
    ) -> None:
        """Keep models; *rows* gives those that policies are measured on."""
        self.database, self.objects, self.scorer, self.rows = database, objects, scorer, rows
        self.clock = clock or SystemClock()

    # Models

    @operation("POST /models")
    def create_model(self, name: str, description: str = "", tags: dict[str, str] | None = None) -> Model:
        """Create a model without versions; raises AlreadyExists when there is one of the name."""
        model = Model(
            name=check_free_name(name, "model"), description=description, created=self.clock.now(), tags=tags or {}
        )
        with self.database.begin() as connection:
            if not add_model(connection, model):
                raise AlreadyExists(f"there is a model {name} already; register a version of it", name=name)
        return model

    @operation("GET /models")
    def list_models(self, after: str = "", limit: int = 100) -> list[Model]:
        """List models by name, those after *after*."""
        with self.database.read() as connection:
            return store.find_models(connection, after=after, limit=_bounded(limit))

    @operation("GET /models/{name}")
    def get_model(self, name: str) -> Model:
        """Get a model; raises NotFound."""
        with self.database.read() as connection:
            return store.require_model(connection, name)

    @operation("PATCH /models/{name}")
    def update_model(self, name: str, description: str | None = None, tags: dict[str, str] | None = None) -> Model:
        """Change the description, or add *tags* (replacing those of the same key); raises NotFound."""
        with self.database.begin() as connection:
            model = store.require_model(connection, name)
            text = model.description if description is None else description
            store.set_model(connection, name, {"description": text, "updated": self.clock.now()})
            tag_model(connection, model, tags or {})
            return store.require_model(connection, name)

    # Versions

    @operation("POST /models/{name}/versions")
    def register(
        self,
        name: str,
        digest: str,
        run: str | None = None,
        dataset: str | None = None,
        metrics: dict[str, float] | None = None,
        card: str = "",
        tags: dict[str, str] | None = None,
        task: Task | None = None,
        classes: list[str | int] | None = None,
        trusted: bool = False,
        token: str | None = None,
    ) -> ModelVersion:
        """Register the model at *digest*, a tree (an MLmodel directory) or an ONNX file, as the next version.

        The model is created when it does not exist. *run* and *dataset* are refs of what it came from. *task* and
        *classes* say what the model's files cannot. *trusted* allows a model that is code to be run, in a process of
        its own: give it only for an origin that you know. A second call with the same *token* gives the first version.
        Raises NotFound when there is no such object, InvalidData when it is no model, Unsupported when it cannot be
        served, and UnsafeModel when a pickle in it would run commands or code, unless it is trusted.
        """
        check_free_name(name, "model")
        if token is not None and (known := self._registered(token)) is not None:
            return known
        imported = import_model(self.objects, digest, task=task, classes=classes)
        scan = look_through(self.database, self.objects, imported.digest)
        if not trusted:
            let_pass(self.database, name, scan)
        info, now = imported.info, self.clock.now()
        with self.database.begin() as connection:
            add_model(connection, Model(name=name, description="", created=now))
            store.lock_model(connection, name)
            if token is not None and (known := store.version_by_token(connection, token)) is not None:
                return known
            draft = ModelVersion(
                name=name,
                version=0,
                digest=imported.digest,
                engine=info.engine,
                info=info,
                size_bytes=imported.size_bytes,
                created=now,
                run=None if run is None else str(Ref.parse(run, kind="run")),
                dataset=None if dataset is None else str(Ref.parse(dataset, kind="dataset")),
                metrics={**info.metrics, **(metrics or {})},
                card=card,
                trusted=trusted,
                tags=tags or {},
            )
            return add_version(connection, draft, now, token, scan)

    @operation("GET /models/{name}/versions")
    def list_versions(
        self, name: str, stage: Stage | None = None, before: int | None = None, limit: int = 100
    ) -> list[ModelVersion]:
        """List the versions of a model, newest first; those *before* a version number. Raises NotFound."""
        with self.database.read() as connection:
            store.require_model(connection, name)
            return store.find_versions(connection, name, stage=stage, before=before, limit=_bounded(limit))

    @operation("GET /models/{name}/versions/{version}")
    def get_version(self, name: str, version: int) -> ModelVersion:
        """Get one version; raises NotFound."""
        with self.database.read() as connection:
            return store.require_version(connection, name, version)

    @operation("GET /model-refs/{model}")
    def resolve(self, model: str) -> ModelVersion:
        """Get the version that a ref means: ``churn@7``, ``churn@champion``, or ``churn`` for the latest.

        The ref may begin with ``model:``. Raises NotFound, InvalidRequest when it is no ref of a model.
        """
        wanted = Ref.parse(model, kind="model")
        with self.database.read() as connection:
            found = store.require_model(connection, wanted.name)
            number = wanted.version or found.latest
            if wanted.alias is not None:
                number = _pointed(found, wanted.alias)
            if number is None:
                raise NotFound(f"model {wanted.name} has no version yet; register one", model=model)
            return store.require_version(connection, wanted.name, number)

    @operation("GET /runs/{run}/models")
    def versions_of_run(self, run: str) -> list[ModelVersion]:
        """List the versions that came from a run, newest first."""
        with self.database.read() as connection:
            return store.versions_of_run(connection, str(Ref.parse(run, kind="run")))

    @operation("POST /models/{name}/versions/{version}/tags")
    def tag_version(self, name: str, version: int, tags: dict[str, str]) -> ModelVersion:
        """Add tags to a version, replacing those of the same key; raises NotFound."""
        with self.database.begin() as connection:
            found = store.require_version(connection, name, version)
            tag_version(connection, found, tags)
            return store.require_version(connection, name, version)

    @operation("POST /models/{name}/versions/{version}/trust")
    def trust(self, name: str, version: int, reason: str) -> ModelVersion:
        """Allow the code of a version to run, in a process of its own; the reason is kept in the audit log.

        A model that is code, such as a pickle, runs whatever its author put into it: trust only an origin that you
        know. Trusting it again changes nothing. Raises NotFound, InvalidRequest without a reason.
        """
        if not reason.strip():
            raise InvalidRequest("say why the origin of the version is trusted")
        with self.database.begin() as connection:
            found = store.require_version(connection, name, version)
            if found.trusted:
                return found
            store.set_version(connection, found, {"trusted": True, "updated": self.clock.now()})
            emit(connection, ModelTrusted(model=found.ref, reason=reason))
            return store.require_version(connection, name, version)

    # Stages and aliases

    @operation("POST /models/{name}/versions/{version}/stage")
    def set_stage(self, name: str, version: int, stage: Stage, reason: str = "") -> ModelVersion:
        """Bring a version to a stage; being there already changes nothing.

        Where the champion is protected, production is for what may be champion. Raises GateRefused, NotFound.
        """
        if stage == "production":
            self._measure(name, version, CHAMPION)
        with self.database.begin() as connection:
            store.lock_model(connection, name)
            found, now = store.require_version(connection, name, version), self.clock.now()
            refused = None
            if stage == "production" and stage != found.stage:
                refused = guard.ask(connection, found, CHAMPION, self.rows, promotes=True, reason=reason, now=now)
            if refused is None:
                transitions.to_stage(connection, found, stage, reason, now)
                return store.require_version(connection, name, version)
        raise refused

    def record_stage(self, name: str, version: int, stage: Stage) -> None:
        """Write down the stage that a version is in because it is served, or was; raises NotFound."""
        with self.database.begin() as connection:
            found = store.require_version(connection, name, version)
            transitions.to_stage(connection, found, stage, "", self.clock.now())

    @operation("GET /models/{name}/versions/{version}/stages")
    def stage_history(self, name: str, version: int) -> list[StageChange]:
        """List the stages that a version went through, oldest first; raises NotFound."""
        with self.database.read() as connection:
            store.require_version(connection, name, version)
            return store.stages_of(connection, name, version)

    @operation("PUT /models/{name}/aliases/{alias}")
    def set_alias(self, name: str, alias: str, version: int, reason: str = "") -> Model:
        """Point an alias to a version, without asking the gates unless it is protected.

        Raises NotFound, and for a protected alias GateRefused or ApprovalNeeded, which say what is missing.
        """
        check_alias(alias)
        self._measure(name, version, alias)
        with self.database.begin() as connection:
            store.lock_model(connection, name)
            found, now = store.require_version(connection, name, version), self.clock.now()
            refused = guard.ask(connection, found, alias, self.rows, promotes=False, reason=reason, now=now)
            if refused is None:
                transitions.point(connection, found, alias, reason, now)
                return store.require_model(connection, name)
        raise refused

    @operation("DELETE /models/{name}/aliases/{alias}")
    def delete_alias(self, name: str, alias: str, reason: str = "") -> Model:
        """Remove an alias; raises NotFound when there is none, GateRefused when it is protected."""
        with self.database.begin() as connection:
            store.lock_model(connection, name)
            guard.check_removal(connection, name, [alias])
            model = store.require_model(connection, name)
            _pointed(model, alias)
            transitions.unpoint(connection, model, alias, reason, self.clock.now())
            return store.require_model(connection, name)

    @operation("GET /models/{name}/aliases/{alias}/moves")
    def alias_history(self, name: str, alias: str) -> list[AliasMove]:
        """List where an alias pointed, oldest first; raises NotFound for an unknown model."""
        with self.database.read() as connection:
            store.require_model(connection, name)
            return store.moves_of(connection, name, alias)

    # Gates and promotion

    def evaluate_gates(
        self,
        name: str,
        version: int,
        holdout: Holdout,
        *,
        alias: str = CHAMPION,
        policy: GatePolicy | None = None,
        scorer: Scorer | None = None,
        token: str | None = None,
        under: str | None = None,
    ) -> GateReport:
        """Measure a version on rows that it did not learn from, against the version that *alias* points to.

        The report is stored, and is what `promote` goes by; *under* names the policy where it is kept by name. A second
        call with the same *token* gives the first report. Raises NotFound, and InvalidData when the holdout lacks a
        column, a label or a group that is needed.
        """
        if token is not None and (known := self._report(token)) is not None:
            return known
        scorer = scorer or self.scorer
        if scorer is None:
            raise InvalidRequest("the gates need a scorer that opens models; pass one, or make the registry with one")
        candidate, champion = self._opponents(name, version, alias)
        report = evaluate(scorer, candidate, champion, holdout, policy or GatePolicy(), under, self.clock.now())
        with self.database.begin() as connection:
            store.insert_report(connection, name, version, report, token)
            emit(connection, evaluated(report))
        return report

    @operation("GET /gate-reports/{report}")
    def get_report(self, report: str) -> GateReport:
        """Get a gate report by its ref, such as ``report:01J...``; raises NotFound."""
        wanted = report if report.startswith("report:") else f"report:{report}"
        with self.database.read() as connection:
            found = store.find_report(connection, wanted)
        if found is None:
            raise NotFound(f"there is no gate report {report}", report=report)
        return found

    @operation("GET /models/{name}/versions/{version}/gate-reports")
    def list_reports(self, name: str, version: int, limit: int = 100) -> list[GateReport]:
        """List the gate reports of a version, newest first."""
        with self.database.read() as connection:
            return store.reports_of(connection, name, version, _bounded(limit))

    @operation("POST /models/{name}/versions/{version}/promote")
    def promote(
        self, name: str, version: int, alias: str = CHAMPION, report: str | None = None, force: str | None = None
    ) -> ModelVersion:
        """Point *alias* to a version that passed its gates, and bring it to production; the one before is archived.

        *report* is the ref of the gate report to go by (default: the latest of the version). *force* is the reason to
        promote in spite of it, which is kept in the audit log. Promoting what *alias* points to already changes
        nothing. Of a protected alias its policy is asked, and force does not help. Raises GateRefused, naming each
        failed check with its numbers, also when there is no report or when it compared with another champion than there
        is now; ApprovalNeeded when somebody else has to agree; NotFound.
        """
        check_alias(alias)
        self._measure(name, version, alias)
        with self.database.begin() as connection:
            store.lock_model(connection, name)
            found = store.require_version(connection, name, version)
            previous = store.require_model(connection, name).aliases.get(alias)
            if previous == version:
                return found
            used, now = None, self.clock.now()
            if guard.is_protected(connection, name, alias):
                refused = guard.ask(connection, found, alias, self.rows, promotes=True, force=force, now=now)
            else:
                used = promoting.report_of(connection, found, report)
                refused = promoting.refusal(connection, found, alias, previous, used, force)
            if refused is None:
                forced = force if promoting.objected(name, used, previous) else None
                transitions.promote(connection, found, alias, previous, used, forced, now)
                return store.require_version(connection, name, version)
        # Raised outside of the transaction, which keeps the refusal in the audit log.
        raise refused

    # Steps

    def _measure(self, name: str, version: int, alias: str) -> None:
        def evaluate(holdout: Holdout, policy: NamedPolicy) -> None:
            measured = policy.content.measured
            self.evaluate_gates(name, version, holdout, alias=alias, policy=measured, under=policy.ref)

        if self.scorer is not None:
            guard.measure(self.database, name, version, alias, self.rows, evaluate)

    def _opponents(self, name: str, version: int, alias: str) -> tuple[ServableVersion, ServableVersion | None]:
        with self.database.read() as connection:
            candidate = store.require_version(connection, name, version).servable()
            number = store.require_model(connection, name).aliases.get(alias)
            if number is None or number == version:
                return candidate, None
            return candidate, store.require_version(connection, name, number).servable()

    def _registered(self, token: str) -> ModelVersion | None:
        with self.database.read() as connection:
            return store.version_by_token(connection, token)

    def _report(self, token: str) -> GateReport | None:
        with self.database.read() as connection:
            return store.report_by_token(connection, token)


def _pointed(model: Model, alias: str) -> int:
    if alias not in model.aliases:
        known = ", ".join(model.aliases) or "none"
        raise NotFound(f"model {model.name} has no alias {alias!r}; its aliases: {known}", name=model.name, alias=alias)
    return model.aliases[alias]


def _bounded(limit: int) -> int:
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidRequest(f"limit={limit}: expected 1 to {MAX_PAGE}")
    return limit
