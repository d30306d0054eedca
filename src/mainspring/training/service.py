"""The verb of training: from a dataset version and a target column to a model in the object store."""

from __future__ import annotations

import tempfile
import time as clock_time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import polars as pl

from mainspring.core.clock import Clock, SystemClock
from mainspring.core.errors import InvalidRequest, NotFound, Unsupported
from mainspring.core.operations import operation
from mainspring.datasets.service import Datasets
from mainspring.registry.intervals import Estimate, estimate
from mainspring.registry.quality import measure, metric_named, trivial
from mainspring.registry.signature import ModelInfo, Task
from mainspring.storage.objects.store import ObjectStore
from mainspring.storage.objects.tree import put_tree, tree_entries
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import emit
from mainspring.tracking.environment import capture_environment
from mainspring.tracking.model import Metric, Run
from mainspring.tracking.service import Tracking
from mainspring.tracking.source import capture_source
from mainspring.training import store
from mainspring.training.assembly import SAMPLE_ROWS, Model, export, prove, refit, signature_of, write_model
from mainspring.training.candidates import CANDIDATES, Candidate, Parameters, Problem
from mainspring.training.events import ModelTrained
from mainspring.training.libraries import LIBRARIES, library
from mainspring.training.model import Proof, TrainingResult, Trial
from mainspring.training.search import Attempt, Ground, best_of, search
from mainspring.training.split import RowRange
from mainspring.training.table import LearningTable, ages_of, for_fit, for_search, read_table, splits_of

_MANY_CELLS = 5_000_000


class _Found(msgspec.Struct, frozen=True):
    """What the search found."""

    best: Attempt
    trials: list[Trial]
    split: Literal["time", "recent", "random", "folds"]
    validation: Estimate
    baseline: float | None


class _Made(msgspec.Struct, frozen=True):
    """The model that was stored."""

    digest: str
    size_bytes: int
    info: ModelInfo
    proof: Proof


class Training:
    """Trains models on versions of *datasets*; runs go to *tracking*, models to *objects*.

    *candidates* are the kinds of model that are tried. *threads* bounds the processors used (default: one for small
    tables, where more would only wait for each other, all for large ones).
    """

    def __init__(
        self,
        database: Database,
        datasets: Datasets,
        tracking: Tracking,
        objects: ObjectStore,
        *,
        candidates: Mapping[str, Candidate] = CANDIDATES,
        threads: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.database, self.datasets, self.tracking, self.objects = database, datasets, tracking, objects
        self.candidates, self.threads = candidates, threads
        self.clock = clock or SystemClock()

    def train(
        self,
        dataset: str,
        target: str,
        *,
        time: str | None = None,
        key: Sequence[str] = (),
        metric: str | None = None,
        task: Task | None = None,
        experiment: str = "training",
        trials: int = 8,
        budget_s: float = 600.0,
        seed: int = 0,
        rows: RowRange | None = None,
        ordered: bool = False,
        start_from: Parameters | None = None,
        recent: int | None = None,
        token: str | None = None,
    ) -> TrainingResult:
        """Search for a good model of *target*, fit it on all *rows*, and store it.

        *time* defaults to the dataset's own time column and orders the rows: candidates are judged on the latest fifth.
        *ordered* says that, without a time column, the rows stand in the order of time.
        *recent* has candidates judged on blocks of that many latest rows, after something has changed.
        *start_from* are the ``parameters`` of an earlier result: they are tried first, so two or three trials are
        enough. Every trial is a tracked run below the training's own. A second call with the same *token* gives the
        first result. Raises InvalidData when nothing can be learned, InvalidRequest for arguments that do not fit,
        MissingExtra without scikit-learn, Optuna or ONNX.
        """
        if trials < 1 or budget_s <= 0:
            raise InvalidRequest(f"trials={trials}, budget_s={budget_s}: at least one trial and some time are needed")
        if token is not None and (known := self._known(token)) is not None:
            return known
        for module in LIBRARIES:
            library(module)
        began = clock_time.perf_counter()
        version = self.datasets.resolve(dataset)
        table = read_table(
            self.datasets.read(version.dataset, version.version),
            target,
            time=time or version.time_column,
            key=[*version.key, *key],
            metric=metric,
            task=task,
            rows=rows or RowRange(),
            ordered=ordered,
        )
        problem = Problem(table.target.task, table.classes, table.metric, seed)
        with self._run(experiment, version.ref, table, seed, token) as run, self._threads(table):
            found = self._search(run, table, problem, trials, budget_s, start_from, _since(table, recent))
            model = self._model(run, version.ref, table, problem, found)
            result = _result(run, version.ref, table, problem, found, model, clock_time.perf_counter() - began)
            self._keep(result, token)
        return result

    @operation("GET /trainings/{run}")
    def get(self, run: str) -> TrainingResult:
        """Get the result of a finished training by its run, such as ``run:01J...``; raises NotFound."""
        with self.database.read() as connection:
            found = store.by_run(connection, run if run.startswith("run:") else f"run:{run}")
        if found is None:
            raise NotFound(f"no training finished in {run}", run=run)
        return found

    # The steps of a training

    def _search(
        self,
        run: Run,
        table: LearningTable,
        problem: Problem,
        trials: int,
        budget_s: float,
        start_from: Parameters | None,
        since: float | None,
    ) -> _Found:
        small = for_search(table, problem.seed)
        how, splits = splits_of(small, problem.seed, since)
        ground = Ground(small.frame, small.columns, small.truth, splits, small.time)
        tried: list[Trial] = []

        def note(number: int, made: Attempt) -> None:
            tried.append(self._note(run, number, made, problem.metric))

        attempts = search(
            ground, problem, self.candidates, trials=trials, budget_s=budget_s, start_from=start_from, note=note
        )
        best = best_of(attempts, ground, problem)
        assert best.scores is not None
        judged = ground.truth[ground.judged]
        validation = estimate(problem.metric, judged, best.scores)
        return _Found(best, tried, how, validation, _baseline(problem, judged))

    def _model(self, run: Run, dataset: str, table: LearningTable, problem: Problem, found: _Found) -> _Made:
        part = for_fit(table, self.candidates[found.best.candidate].max_rows, problem.seed)
        model = self._refit(part, problem, found.best)
        graph, proof = self._export(model, part.frame, problem.seed)
        info = _info(part, model, dataset, run, graph, proof, found)
        digest, size = self._store(model, graph, info, part.frame, problem.seed, run)
        return _Made(digest, size, info, proof)

    def _refit(self, part: LearningTable, problem: Problem, best: Attempt) -> Model:
        return refit(
            part.frame,
            part.columns,
            part.truth,
            self.candidates[best.candidate],
            problem,
            best.parameters,
            age=ages_of(part),
            time=part.time,
            classes=part.target.classes,
        )

    def _export(self, model: Model, frame: pl.DataFrame, seed: int) -> tuple[bytes | None, Proof]:
        try:
            graph = export(model)
        except Unsupported as error:
            return None, Proof(proved=False, reason=str(error))
        proof = prove(model, graph, _sample(frame, seed))
        return (graph if proof.proved else None), proof

    def _store(
        self, model: Model, graph: bytes | None, info: ModelInfo, frame: pl.DataFrame, seed: int, run: Run
    ) -> tuple[str, int]:
        with tempfile.TemporaryDirectory(prefix="mainspring-model-") as made:
            folder = Path(made) / "model"
            write_model(folder, model, graph, info, _sample(frame, seed), run.id)
            digest = put_tree(self.objects, folder)
        size = 0
        for entry in tree_entries(self.objects, digest):
            self.tracking.log_artifact(run.id, f"model/{entry.path}", entry.digest)
            size += entry.size
        return digest, size

    def _keep(self, result: TrainingResult, token: str | None) -> None:
        run = result.run.removeprefix("run:")
        found = {result.metric: result.validation.value, f"baseline.{result.metric}": result.baseline}
        metrics = [Metric(name, value) for name, value in found.items() if value is not None]
        self.tracking.log_batch(run, metrics=metrics, params=_texts(result.parameters))
        with self.database.begin() as connection:
            if store.insert(connection, result, token, self.clock.now()):
                emit(connection, _event(result))

    # Runs

    @contextmanager
    def _run(self, experiment: str, dataset: str, table: LearningTable, seed: int, token: str | None) -> Iterator[Run]:
        run = self.tracking.create_run(experiment, name=f"train {table.target.name}", token=token)
        self.tracking.resume_run(run.id)
        self.tracking.record_environment(run.id, capture_environment())
        if (code := capture_source()) is not None:
            self.tracking.record_code(run.id, code)
        self.tracking.log_input(run.id, dataset)
        said = {"target": table.target.name, "task": table.target.task, "metric": table.metric, "seed": str(seed)}
        self.tracking.log_params(run.id, {f"training.{key}": value for key, value in said.items()})
        finished = False
        try:
            yield run
            finished = True
        finally:
            self.tracking.finish_run(run.id, "finished" if finished else "failed")

    def _note(self, run: Run, number: int, made: Attempt, metric: str) -> Trial:
        child = self.tracking.create_run(
            run.experiment,
            name=f"trial {number} {made.candidate}",
            parent=run.id,
            params=_texts({"candidate": made.candidate, **made.parameters}),
            tags={} if made.failure is None else {"failure": made.failure[:1000]},
            token=f"{run.id}/trial/{number}",
        )
        metrics = [Metric("seconds", made.seconds)]
        if made.value is not None:
            metrics.append(Metric(metric, made.value))
        self.tracking.log_batch(child.id, metrics=metrics)
        self.tracking.finish_run(child.id, "finished" if made.failure is None else "failed")
        return Trial(
            run=child.ref,
            candidate=made.candidate,
            parameters=made.parameters,
            value=made.value,
            seconds=round(made.seconds, 3),
            failure=made.failure,
        )

    def _known(self, token: str) -> TrainingResult | None:
        with self.database.read() as connection:
            return store.by_token(connection, token)

    @contextmanager
    def _threads(self, table: LearningTable) -> Iterator[None]:
        threads = self.threads or (1 if len(table.truth) * len(table.columns) < _MANY_CELLS else None)
        with library("threadpoolctl").threadpool_limits(limits=threads):
            yield


def _since(table: LearningTable, recent: int | None) -> float | None:
    if recent is None or table.moments is None:
        return None
    return float(np.sort(table.moments)[-min(recent, len(table.moments))])


def _sample(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    count = min(SAMPLE_ROWS, len(frame))
    return frame[np.sort(np.random.default_rng(seed).choice(len(frame), count, replace=False))]


def _baseline(problem: Problem, judged: Any) -> float | None:
    value = measure(problem.metric, judged, trivial(problem.task, judged, problem.classes))
    return value if np.isfinite(value) else None


def _info(
    table: LearningTable,
    model: Model,
    dataset: str,
    run: Run,
    graph: bytes | None,
    proof: Proof,
    found: _Found,
) -> ModelInfo:
    metrics = {table.metric: found.validation.value, f"baseline.{table.metric}": found.baseline}
    why = [] if graph is not None else [f"served in a process of its own: {proof.reason}"]
    return ModelInfo(
        signature=signature_of(model),
        task=table.target.task,
        engine="process" if graph is None else "onnx",
        classes=table.target.classes,
        metric=table.metric,
        metrics={name: value for name, value in metrics.items() if value is not None},
        target=table.target.name,
        time=table.time,
        trained_on=[dataset, run.ref],
        rows=len(table.truth),
        parameters={"candidate": model.fitted.candidate, **model.fitted.parameters},
        dropped=table.dropped,
        notes=[*table.warnings, *why],
    )


def _result(
    run: Run, dataset: str, table: LearningTable, problem: Problem, found: _Found, made: _Made, seconds: float
) -> TrainingResult:
    return TrainingResult(
        run=run.ref,
        experiment=run.experiment,
        dataset=dataset,
        digest=made.digest,
        engine=made.info.engine,
        size_bytes=made.size_bytes,
        task=problem.task,
        target=table.target.name,
        classes=table.target.classes,
        metric=problem.metric,
        higher_is_better=metric_named(problem.metric).higher_is_better,
        validation=found.validation,
        baseline=found.baseline,
        split=found.split,
        rows=len(table.truth),
        rows_fitted=made.info.rows or 0,
        columns=[column.name for column in table.columns],
        dropped=table.dropped,
        warnings=table.warnings,
        parameters=made.info.parameters,
        trials=found.trials,
        proof=made.proof,
        seed=problem.seed,
        seconds=round(seconds, 3),
    )


def _event(result: TrainingResult) -> ModelTrained:
    return ModelTrained(
        run=result.run,
        dataset=result.dataset,
        digest=result.digest,
        candidate=str(result.parameters["candidate"]),
        metric=result.metric,
        value=result.validation.value,
    )


def _texts(parameters: Mapping[str, Any]) -> dict[str, str]:
    return {
        key: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for key, value in parameters.items()
    }
