"""Runs of elsewhere are written here: each step may be repeated, so an import that was broken off goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import msgspec

from mainspring.core.errors import MainspringError, NotFound
from mainspring.importers.model import ForeignModel, ForeignRun, ForeignVersion, Measured, Problem, Report, Source
from mainspring.storage.objects.tree import put_tree
from mainspring.tracking.model import MAX_METRICS, MAX_PARAM_CHARS, MAX_PARAMS, MAX_TAG_CHARS, MAX_TAGS, Metric

if TYPE_CHECKING:
    from mainspring.client.session import Session

T = TypeVar("T")
IMPORTED = "mainspring.imported"
"""The tag that says where a run came from, and that all of it is here."""


class Imported(msgspec.Struct):
    """What the tag holds."""

    source: str
    state: str
    at: str
    points: int
    files: int


class Importer:
    """Writes the runs of sources through a session, near or far."""

    def __init__(self, session: Session, told: Callable[[str], None] | None = None) -> None:
        """Write to *session*; *told* hears one line for each run."""
        self._session = session
        self._told = told or (lambda line: None)
        self._experiments: set[str] = set()

    def bring(self, source: Source) -> Report:
        """Bring every run of a source; what fails is told in the report, and the others go on."""
        counts = {"runs": 0, "unchanged": 0, "points": 0, "files": 0}
        problems: list[Problem] = []
        for run in source.runs():
            try:
                done = self._bring(source, run, problems)
            except (MainspringError, OSError, ValueError) as error:
                problems.append(Problem(f"run {run.id}", str(error)))
                self._told(f"refused   {run.id}  {run.experiment}: {error}")
                continue
            if done is None:
                counts["unchanged"] += 1
                self._told(f"unchanged {run.id}  {run.experiment}")
                continue
            points, files = done
            counts["runs"] += 1
            counts["points"] += points
            counts["files"] += files
            self._told(f"imported  {run.id}  {run.experiment}  {points} points, {files} files")
        return Report(source.name, problems=problems, **counts)

    def bring_models(self, source: str, models: Iterable[ForeignModel]) -> Report:
        """Register the versions of models in their order, then move aliases and stages; may be repeated."""
        counts = {"models": 0, "versions": 0}
        problems: list[Problem] = []
        for model in models:
            here = {found.name for found in self._session.registry.list_models(model.name[:-1], 1000)}
            if model.name not in here:
                self._session.registry.create_model(model.name, model.description, model.tags)
            numbers = self._known(model.name)
            for version in model.versions:
                try:
                    if version.number not in numbers:
                        numbers[version.number] = self._version(source, model.name, version)
                        counts["versions"] += 1
                except (MainspringError, OSError, ValueError) as error:
                    problems.append(Problem(f"version {version.number} of model {model.name}", str(error)))
            for alias, number in model.aliases.items():
                if number in numbers:
                    self._session.registry.set_alias(model.name, alias, numbers[number], f"imported from {source}")
            problems += [
                Problem(f"version {there} of model {model.name}", f"is version {number} here: numbers have no gaps")
                for there, number in numbers.items()
                if there != number
            ]
            counts["models"] += 1
            self._told(f"imported  model {model.name}  {len(numbers)} versions")
        return Report(source, problems=problems, **counts)

    def _known(self, name: str) -> dict[int, int]:
        """Give the numbers here of the versions that were imported, by their numbers there."""
        found = self._session.registry.list_versions(name, limit=1000)
        return {int(number): version.version for version in found if (number := version.tags.get(IMPORTED))}

    def _version(self, source: str, name: str, version: ForeignVersion) -> int:
        registry, token = self._session.registry, f"import {source} {name} {version.number}"
        tree = put_tree(self._session.objects, version.fetch())
        tags = version.tags | {IMPORTED: str(version.number)}
        run = None if version.run is None or self._found(version.run) is None else f"run:{version.run}"
        made = registry.register(name, tree, run, card=version.description, tags=tags, token=token)
        if version.stage != made.stage:
            registry.set_stage(name, made.version, version.stage, f"imported from {source}")
        return made.version

    def _bring(self, source: Source, run: ForeignRun, problems: list[Problem]) -> tuple[int, int] | None:
        tracking = self._session.tracking
        here = self._found(run.id)
        if here is not None and _state(here) == run.state:
            return None
        parent = run.tags.get("mlflow.parentRunId")
        self._make_experiment(run.experiment)
        tracking.create_run(
            run.experiment,
            name=run.name,
            parent=parent if parent and self._found(parent) is not None else None,
            started=run.started,
            run=run.id,
        )
        if here is not None and here.run.status != "running":
            tracking.resume_run(run.id)
        for params in _parts(run.params.items(), MAX_PARAMS):
            tracking.log_batch(run.id, params=self._cut(run, dict(params), MAX_PARAM_CHARS, problems))
        for tags in _parts(run.tags.items(), MAX_TAGS):
            tracking.log_batch(run.id, tags=self._cut(run, dict(tags), MAX_TAG_CHARS, problems))
        points = 0
        for part in _parts(run.points(), MAX_METRICS):
            tracking.log_batch(run.id, metrics=[_metric(point) for point in part])
            points += len(part)
        files = self._files(run, problems)
        if run.status is not None:
            mark = Imported(source.name, run.state, datetime.now(UTC).isoformat(), points, files)
            tracking.set_tags(run.id, {IMPORTED: msgspec.json.encode(mark).decode()})
            tracking.finish_run(run.id, run.status, run.ended)
        return points, files

    def _make_experiment(self, name: str) -> None:
        # Elsewhere an experiment may have a name that none may get here; one that is there may be logged to.
        if name not in self._experiments:
            self._session.experiments.adopt_experiment(name)
            self._experiments.add(name)

    def _found(self, run: str) -> _Details | None:
        try:
            return self._session.tracking.get_run(run)
        except NotFound:
            return None

    def _files(self, run: ForeignRun, problems: list[Problem]) -> int:
        brought = 0
        for file in run.files():
            try:
                digest = self._session.objects.put_file(file.fetch())
                self._session.tracking.log_artifact(run.id, file.path, digest)
            except (MainspringError, OSError, ValueError) as error:
                problems.append(Problem(f"file {file.path} of run {run.id}", str(error)))
            else:
                brought += 1
        return brought

    def _cut(self, run: ForeignRun, values: dict[str, str], most: int, problems: list[Problem]) -> dict[str, str]:
        for key, value in values.items():
            if len(value) > most:
                problems.append(Problem(f"{key} of run {run.id}", f"has {len(value)} characters; {most} are kept"))
        return {key: value[:most].replace("\0", " ") for key, value in values.items()}


def _state(here: _Details) -> str | None:
    try:
        return msgspec.json.decode(here.tags.get(IMPORTED, "").encode(), type=Imported).state
    except msgspec.MsgspecError:
        return None


def _metric(point: Measured) -> Metric:
    return Metric(point.key, point.value, point.step, point.at_us)


def _parts(items: Iterable[T], size: int) -> Iterator[list[T]]:
    left = iter(items)
    while part := list(islice(left, size)):
        yield part


if TYPE_CHECKING:
    from mainspring.tracking.model import RunDetails as _Details
