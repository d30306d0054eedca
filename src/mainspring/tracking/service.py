"""The verbs of tracking: start runs, log what they set and measure, end them, find them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from mainspring.core.clock import Clock, SystemClock
from mainspring.core.errors import Conflict, InvalidRequest, NotFound, TooLarge
from mainspring.core.ids import new_id
from mainspring.core.operations import operation
from mainspring.core.refs import Ref, check_name, check_path_name
from mainspring.storage.objects.digests import digest_of
from mainspring.storage.objects.store import ObjectStore
from mainspring.storage.sql.database import Database, Transaction, Work
from mainspring.storage.sql.journal import emit
from mainspring.tracking import store
from mainspring.tracking.artifacts import check_path
from mainspring.tracking.events import (
    ExperimentCreated,
    RunCodeRecorded,
    RunFinished,
    RunReadDataset,
    RunResumed,
    RunStarted,
)
from mainspring.tracking.experiments.service import Experiments, fresh_id
from mainspring.tracking.experiments.store import require_active
from mainspring.tracking.files.service import ArtifactFiles
from mainspring.tracking.lifecycle.service import RunLifecycle
from mainspring.tracking.limits import check_batch, check_texts
from mainspring.tracking.metrics import reading as metric_reading
from mainspring.tracking.metrics import store as metric_store
from mainspring.tracking.metrics.service import MetricHistories
from mainspring.tracking.metrics.thinning import Thinning
from mainspring.tracking.model import (
    MAX_HISTORY,
    MAX_PAGE,
    MAX_PARAM_CHARS,
    Artifact,
    DatasetInput,
    Environment,
    Experiment,
    History,
    Lifecycle,
    Metric,
    Run,
    RunDetails,
    RunEnd,
    RunPage,
    RunPart,
    SourceCode,
    microseconds,
    run_ref,
)
from mainspring.tracking.organising.model import Archived
from mainspring.tracking.organising.store import runs_within, shown_runs
from mainspring.tracking.paging import bounded
from mainspring.tracking.search import store as search_store
from mainspring.tracking.search.filters import parse_filter, parse_order
from mainspring.tracking.search.rows import EVERYTHING, details_of, read_rows, read_run

MAX_INLINE_BYTES = 8 * 2**20


class Tracking:
    """Experiments and runs, kept in *database*; the bytes of artifacts are kept in *objects*."""

    def __init__(self, database: Database, objects: ObjectStore, clock: Clock | None = None) -> None:
        self.database = database
        self.objects = objects
        self.clock = clock or SystemClock()
        self.experiments = Experiments(database, self.clock)
        self.lifecycle = RunLifecycle(database, self.clock)
        self.histories = MetricHistories(database)
        self.files = ArtifactFiles(database, objects)

    # Experiments

    @operation("POST /experiments")
    def create_experiment(self, name: str, tags: dict[str, str] | None = None) -> Experiment:
        """Create an experiment.

        Raises AlreadyExists when there is one of this name.
        """
        check_texts(tags or {}, "tag")
        return self.experiments.add(check_path_name(name, "experiment"), tags)

    @operation("GET /experiments")
    def list_experiments(self, after: str = "", limit: int = 100) -> list[Experiment]:
        """List experiments in the order of their names.

        *after* is the name that the last page ended with.
        """
        with self.database.read() as connection:
            return store.find_experiments(connection, after=after, limit=bounded(limit))

    @operation("GET /experiments/{name:path}")
    def get_experiment(self, name: str) -> Experiment:
        """Get an experiment by its name.

        Raises NotFound.
        """
        with self.database.read() as connection:
            return store.require_experiment(connection, name)

    @operation("POST /experiments/{name:path}/tags")
    def tag_experiment(self, name: str, tags: dict[str, str]) -> Experiment:
        """Set tags of an experiment.

        Raises NotFound.
        """
        check_texts(tags, "tag")
        with self.database.begin() as connection:
            store.set_experiment_tags(connection, store.require_experiment(connection, name).id, tags)
            return store.require_experiment(connection, name)

    # Runs

    @operation("POST /experiments/{experiment:path}/runs")
    def create_run(
        self,
        experiment: str,
        name: str | None = None,
        parent: str | None = None,
        params: dict[str, str] | None = None,
        tags: dict[str, str] | None = None,
        started: datetime | None = None,
        run: str | None = None,
        token: str | None = None,
    ) -> Run:
        """Start a run.

        The experiment is created when it does not exist. A second call with the same *token*, or the same id *run*
        (made by the caller with `new_id`, so that it can log before this call got through), returns the first run and
        writes nothing. Raises NotFound for an unknown *parent*.
        """
        check_batch([], params or {}, tags or {})
        check_texts({"name": name or ""}, "run")
        now = self.clock.now()
        id = check_name(run or new_id(), "run")
        fresh = Run(id, name or f"run-{id[-6:].lower()}", experiment, "running", started or now, parent=parent)
        with self.database.begin() as connection:
            existing = store.existing_run(connection, fresh, token)
            if existing is not None:
                return existing
            if parent is not None:
                store.require_run(connection, parent)
            # Clients of elsewhere, and importers, give names that none may get here; to log to one is no harm.
            if not store.find_experiments(connection, name=experiment):
                check_path_name(experiment, "experiment")
            if store.insert_experiment(connection, Experiment(fresh_id(experiment), experiment, now)):
                emit(connection, ExperimentCreated(experiment=experiment))
            owner = require_active(store.require_experiment(connection, experiment))
            fresh = msgspec.structs.replace(fresh, experiment_id=owner.id, location=owner.location)
            if not store.insert_run(connection, fresh, token):
                # Another call with the same token committed since we looked.
                return store.existing_run(connection, fresh, token) or fresh
            store.insert_params(connection, id, params or {})
            store.set_tags(connection, id, tags or {})
            parent_ref = None if parent is None else run_ref(parent)
            emit(connection, RunStarted(run=fresh.ref, experiment=experiment, parent=parent_ref))
        return fresh

    @operation("GET /runs/{run}")
    def get_run(self, run: str) -> RunDetails:
        """Get a run with its parameters, tags, dataset inputs and the latest point of each metric.

        Raises NotFound.
        """
        with self.database.read() as connection:
            return details_of(read_run(connection, run))[0]

    @operation("POST /runs/search")
    def search_runs(
        self,
        experiments: list[str] | None = None,
        where: str = "",
        order_by: list[str] | None = None,
        include: list[RunPart] | None = None,
        limit: int = 100,
        page: str | None = None,
        under: str = "",
        lifecycle: Lifecycle = "active",
        archived: Archived = "hidden",
    ) -> RunPage:
        """Find runs, newest first.

        *order_by* sorts them otherwise: ``["metrics.auc desc"]``. *where* is a filter such as ``metrics.auc > 0.9 and
        tags.team = 'ads'``; *under* takes the experiments of a folder, *lifecycle* ``deleted`` what can be restored;
        *include* says what comes with each run (default: everything); an empty list is fastest.
        Raises InvalidRequest for what cannot be read.
        """
        condition, order = parse_filter(where), [parse_order(text) for text in order_by or []]
        within = shown_runs(archived) & runs_within(experiments or [], under.strip("/"), self.database.dialect)
        with self.database.read() as connection:
            found, next_page = search_store.find_runs(
                connection, within, condition, order, lifecycle=lifecycle, limit=bounded(limit), page=page
            )
            return RunPage(
                details_of(read_rows(connection, found, EVERYTHING if include is None else include)), next_page
            )

    @operation("POST /runs/{run}/finish")
    def finish_run(self, run: str, status: RunEnd = "finished", ended: datetime | None = None) -> Run:
        """End a run.

        Ending it the same way again changes nothing. Raises Conflict when the run ended another way, NotFound when
        there is none.
        """
        with store.writing(self.database, run) as connection:
            found = store.require_run(connection, run)
            if found.status == status:
                return found
            if found.status not in ("running", "scheduled"):
                raise Conflict(f"run {run} is {found.status} already: resume it before it can be {status}", run=run)
            store.set_status(connection, run, status, ended or self.clock.now())
            emit(connection, RunFinished(run=run_ref(run), status=status))
            return store.require_run(connection, run)

    @operation("POST /runs/{run}/resume")
    def resume_run(self, run: str) -> Run:
        """Let an ended run go on.

        One that is running stays as it is. Raises NotFound.
        """
        with store.writing(self.database, run) as connection:
            found = store.require_run(connection, run)
            if found.status == "running":
                return found
            store.set_status(connection, run, "running", None)
            emit(connection, RunResumed(run=run_ref(run)))
            return store.require_run(connection, run)

    # What a run sets and measures

    @operation("POST /runs/{run}/batches")
    def log_batch(
        self,
        run: str,
        metrics: list[Metric] | None = None,
        params: dict[str, str] | None = None,
        tags: dict[str, str] | None = None,
        writer: str | None = None,
        sequence: int = 0,
    ) -> None:
        """Log up to 1000 metrics, 100 params and 100 tags, all or nothing.

        A *writer* numbers its batches upwards in *sequence*: a batch whose number was reached already is ignored, so
        it may be sent again. Exact duplicates of metrics are ignored anyhow. Raises Conflict when a param has another
        value already, NotFound, TooLarge and InvalidRequest.
        """
        self.database.carry_out(self.logging_batch(run, metrics, params, tags, writer, sequence))

    def logging_batch(
        self,
        run: str,
        metrics: Sequence[Metric] | None = None,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        writer: str | None = None,
        sequence: int = 0,
    ) -> Work[None]:
        """Check what `log_batch` is given, and give what it does in a transaction."""
        check_batch(metrics or [], params or {}, tags or {})
        now_us = microseconds(self.clock.now())
        points = metric_store.grouped(
            [metric.key for metric in metrics or ()],
            [metric.step for metric in metrics or ()],
            [now_us if metric.at_us is None else metric.at_us for metric in metrics or ()],
            [metric.number for metric in metrics or ()],
        )
        return self.logging_points(run, points, params or {}, tags or {}, writer, sequence)

    def logging_point(self, run: str, key: str, point: metric_store.Sorted) -> Work[None]:
        """Give what `log_metric` does in a transaction with a point that was checked already."""

        def work(connection: Transaction) -> None:
            store.lock_run(connection, run)
            metric_store.insert_point(connection, run, key, point)

        return work

    def logging_points(
        self,
        run: str,
        points: Mapping[str, Sequence[metric_store.Sorted]],
        params: Mapping[str, str],
        tags: Mapping[str, str],
        writer: str | None = None,
        sequence: int = 0,
    ) -> Work[None]:
        """Check params and tags, and give what `log_batch` does in a transaction; the points were checked before."""
        if params:
            check_texts(params, "param", MAX_PARAM_CHARS)
        if tags:
            check_texts(tags, "tag")

        def work(connection: Transaction) -> None:
            store.lock_run(connection, run)
            if writer is not None and not store.advance_writer(connection, run, writer, sequence):
                return
            store.write_params_once(connection, run, params)
            store.set_tags(connection, run, tags)
            if points:
                metric_store.insert_points(connection, run, points)

        return work

    @operation("POST /runs/{run}/metrics")
    def log_metric(self, run: str, key: str, value: float, step: int = 0, at_us: int | None = None) -> None:
        """Log one finite value of a metric.

        `log_batch` takes many, `client.logging.RunLogger` does not wait.
        """
        self.log_batch(run, metrics=[Metric(key, value, step, at_us)])

    @operation("POST /runs/{run}/params")
    def log_params(self, run: str, params: dict[str, str]) -> None:
        """Set parameters once and for all.

        Raises Conflict when one has another value already.
        """
        self.log_batch(run, params=params)

    @operation("POST /runs/{run}/tags")
    def set_tags(self, run: str, tags: dict[str, str]) -> None:
        """Set tags, replacing those of the same key."""
        self.log_batch(run, tags=tags)

    @operation("DELETE /runs/{run}/tags/{key:path}")
    def delete_tag(self, run: str, key: str) -> None:
        """Remove a tag.

        Raises NotFound when the run has none of this key.
        """
        with store.writing(self.database, run) as connection:
            if not store.delete_tag(connection, run, key):
                raise NotFound(f"No tag with name: {key} in run {run!r}", run=run, key=key)

    @operation("GET /runs/{run}/metrics/{key:path}")
    def metric_history(
        self,
        run: str,
        key: str,
        limit: int = MAX_HISTORY,
        page: str | None = None,
        most: int | None = None,
        method: Thinning = "minmax",
    ) -> History:
        """Read the points of one metric in the order of step, time and value.

        There are none when it was never logged. *most* thins a long history for a chart, instead of reading it page by
        page: ``minmax`` keeps every peak, ``lttb`` the shape, ``even`` what stands at even distances. Raises NotFound
        for an unknown run, InvalidRequest.
        """
        wanted = bounded(limit if most is None else most, MAX_HISTORY)
        if most is not None and page is not None:
            raise InvalidRequest("a thinned history has one page: leave out either page or most", page=page)
        with self.database.read() as connection:
            store.require_run(connection, run)
            if most is not None:
                return metric_reading.read_thinned(connection, run, key, most, method)
            points, next_page = metric_reading.read_page(connection, run, key, wanted, page)
            return points.history(key, next_page)

    # What a run reads and leaves behind

    @operation("POST /runs/{run}/inputs")
    def log_input(self, run: str, dataset: str, context: str = "training") -> DatasetInput:
        """Note that a run reads a dataset version.

        *dataset* is a ref with a version, such as ``dataset:trips@12``. Raises InvalidRequest for another, NotFound.
        """
        ref = Ref.parse(dataset, kind="dataset")
        if ref.version is None:
            raise InvalidRequest(f"{dataset!r} may mean something else tomorrow: name a version, such as {ref}@1")
        check_texts({"context": context}, "input")
        used = DatasetInput(str(ref), context)
        with store.writing(self.database, run) as connection:
            if store.insert_input(connection, run, used):
                emit(connection, RunReadDataset(run=run_ref(run), dataset=used.dataset, context=context))
        return used

    @operation("POST /runs/{run}/artifacts")
    def log_artifact(self, run: str, path: str, digest: str) -> Artifact:
        """Let a path of the run point to an object that is stored already, instead of what it pointed to.

        Raises NotFound when there is no such object, Conflict when the path is a folder of another artifact or the
        other way round, InvalidRequest for a path that leaves its folder.
        """
        check_path(path)
        try:
            artifact = Artifact(path, digest, self.objects.renew(digest))
        except NotFound:
            raise NotFound(f"no object {digest}: upload it first", digest=digest) from None
        with store.writing(self.database, run) as connection:
            store.check_place(connection, run, path)
            store.set_artifact(connection, run, artifact)
        return artifact

    @operation("POST /runs/{run}/files")
    def put_artifact(self, run: str, path: str, data: bytes) -> Artifact:
        """Store up to 8 MiB and log them as an artifact.

        Raises TooLarge for more: upload an object, then `log_artifact` its digest.
        """
        if len(data) > MAX_INLINE_BYTES:
            raise TooLarge(f"{path!r} has {len(data)} bytes: upload it as an object, then log its digest", path=path)
        check_path(path)
        return self.log_artifact(run, path, self.objects.put_bytes(data))

    def put_artifact_file(self, run: str, path: str, file: Path) -> Artifact:
        """Store a file of this machine, of any size, and log it as an artifact."""
        check_path(path)
        return self.log_artifact(run, path, self.objects.put_file(file))

    @operation("GET /runs/{run}/artifacts")
    def list_artifacts(self, run: str, under: str = "", after: str = "", limit: int = MAX_PAGE) -> list[Artifact]:
        """List artifacts in the order of their paths.

        *under* narrows them to a folder; *after* is the path that the last page ended with.
        """
        with self.database.read() as connection:
            store.require_run(connection, run)
            return store.find_artifacts(connection, run, under=under.strip("/"), after=after, limit=bounded(limit))

    @operation("GET /runs/{run}/artifacts/{path:path}")
    def get_artifact(self, run: str, path: str) -> Artifact:
        """Get what is known of an artifact.

        Raises NotFound.
        """
        with self.database.read() as connection:
            found = store.find_artifact(connection, run, path)
            if found is None:
                store.require_run(connection, run)
                raise NotFound(f"run {run} has no artifact {path!r}", run=run, path=path)
            return found

    @operation("GET /runs/{run}/files/{path:path}")
    def read_artifact(self, run: str, path: str) -> bytes:
        """Read an artifact of up to 8 MiB.

        Raises TooLarge for more (read the object of its digest) and NotFound.
        """
        artifact = self.get_artifact(run, path)
        if artifact.size > MAX_INLINE_BYTES:
            raise TooLarge(f"{path!r} has {artifact.size} bytes: read object {artifact.digest}", digest=artifact.digest)
        return self.objects.get_bytes(artifact.digest, verify=True)

    # Where a run happened, and of which code

    @operation("PUT /runs/{run}/environment")
    def record_environment(self, run: str, environment: Environment) -> None:
        """Note where a run happens: packages, Python, operating system, processors."""
        digest = digest_of(msgspec.json.encode(environment))
        with store.writing(self.database, run) as connection:
            store.set_environment(connection, run, digest, environment)

    @operation("GET /runs/{run}/environment")
    def get_environment(self, run: str) -> Environment:
        """Get where a run happened.

        Raises NotFound when nobody noted it.
        """
        with self.database.read() as connection:
            store.require_run(connection, run)
            return store.require_environment(connection, run)

    @operation("PUT /runs/{run}/code")
    def record_code(self, run: str, code: SourceCode) -> Run:
        """Note which code a run executes.

        The diff and untracked files become artifacts below ``code/``.
        """
        for path, data in code.files():
            self.put_artifact(run, path, data)
        with store.writing(self.database, run) as connection:
            store.set_code(connection, run, code.commit, code.branch, code.dirty)
            if code.commit is not None:
                emit(connection, RunCodeRecorded(run=run_ref(run), commit=code.commit, dirty=code.dirty))
            return store.require_run(connection, run)
