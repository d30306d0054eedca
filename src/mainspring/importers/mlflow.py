"""MLflow's stores, read by MLflow's own client: a server by URL, a folder ``mlruns``, a database ``mlflow.db``."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mainspring.core.errors import MissingExtra, Unavailable
from mainspring.importers.model import ForeignFile, ForeignModel, ForeignRun, ForeignVersion, Measured
from mainspring.registry.model import Stage
from mainspring.tracking.model import RunEnd

if TYPE_CHECKING:
    from mlflow import MlflowClient

_ENDS: dict[str, RunEnd] = {"FINISHED": "finished", "FAILED": "failed", "KILLED": "killed"}
_STAGES: dict[str, Stage] = {"Staging": "staging", "Production": "production", "Archived": "archived"}
_PROMPT = "mlflow.prompt.is_prompt"
_PAGE, _MODELS_PAGE = 1_000, 100


def client_of(place: str) -> MlflowClient:
    """Give MLflow's client for a URL, a folder or a database file.

    Raises MissingExtra without the package `mlflow` or `mlflow-skinny`, Unavailable when nothing can be read there.
    """
    try:
        # It would send what it is used for elsewhere, and begin a new store where there is none.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        from mlflow import MlflowClient
    except ImportError as error:
        raise MissingExtra("MLflow's stores are read by its own client: pip install mlflow-skinny") from error
    if "://" not in place:
        path = Path(place).absolute()
        if not path.exists():
            raise Unavailable(f"there is no {place}: give the URL of a server, a folder mlruns or a file mlflow.db")
        place = path.as_uri() if path.is_dir() else f"sqlite:///{path}"
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    return MlflowClient(tracking_uri=place, registry_uri=place)


class MlflowRuns:
    """The runs of an MLflow store, of all its experiments or of some; deleted ones stay behind."""

    def __init__(self, place: str, experiments: tuple[str, ...] = ()) -> None:
        """Read what is at *place*; *experiments* are names, none for all."""
        self.client = client_of(place)
        self.name = f"mlflow {place}"
        self._wanted = experiments
        self._folder = Path(tempfile.mkdtemp(prefix="mainspring-import-"))

    def close(self) -> None:
        """Remove what was downloaded."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def experiments(self) -> Iterator[Any]:
        """Give the experiments that are wanted; raises Unavailable when the store cannot be read."""
        for found in _pages(partial(self.client.search_experiments, max_results=_PAGE)):
            if not self._wanted or found.name in self._wanted:
                yield found

    def runs(self) -> Iterator[ForeignRun]:
        """Give the runs, each after its parent."""
        for experiment in self.experiments():
            search = partial(
                self.client.search_runs,
                [experiment.experiment_id],
                max_results=_PAGE,
                order_by=["attributes.start_time ASC"],
            )
            for run in _pages(search):
                yield self._run(experiment.name, run)

    def models(self) -> Iterator[ForeignModel]:
        """Give the registered models; prompts, which are kept among them, stay behind."""
        for found in _pages(partial(self.client.search_registered_models, max_results=_MODELS_PAGE)):
            if found.tags.get(_PROMPT, "").lower() == "true":
                continue
            search = partial(self.client.search_model_versions, f"name = '{found.name}'", max_results=_PAGE)
            versions = sorted(_pages(search), key=lambda version: int(version.version))
            yield ForeignModel(
                name=found.name,
                description=found.description or "",
                tags=dict(found.tags),
                aliases={alias: int(number) for alias, number in found.aliases.items()},
                versions=[self._version(version) for version in versions],
            )

    def _version(self, version: Any) -> ForeignVersion:
        return ForeignVersion(
            number=int(version.version),
            run=version.run_id or None,
            description=version.description or "",
            tags=dict(version.tags),
            stage=_STAGES.get(version.current_stage, "development"),
            fetch=partial(self._fetch_version, version.name, version.version),
        )

    def _fetch_version(self, name: str, number: str) -> Path:
        from mlflow.artifacts import download_artifacts

        place = self.client.get_model_version_download_uri(name, number)
        folder = self._folder / f"{name}-{number}"
        folder.mkdir(exist_ok=True)
        return Path(download_artifacts(place, dst_path=str(folder), tracking_uri=self.client.tracking_uri))

    def _run(self, experiment: str, run: Any) -> ForeignRun:
        info, data = run.info, run.data
        latest = max((metric.timestamp for metric in run.data._metric_objs), default=0)
        return ForeignRun(
            id=info.run_id,
            state=f"{info.status} {info.end_time} {latest} {len(data.metrics)} {len(data.params)} {len(data.tags)}",
            experiment=experiment,
            name=info.run_name,
            started=_moment(info.start_time),
            ended=_moment(info.end_time) if info.end_time else None,
            status=_ENDS.get(info.status),
            params=dict(data.params),
            tags=dict(data.tags),
            points=partial(self._points, info.run_id, list(data.metrics)),
            files=partial(self._files, info.run_id),
        )

    def _points(self, run: str, keys: list[str]) -> Iterator[Measured]:
        for key in keys:
            for point in self.client.get_metric_history(run, key):
                yield Measured(key, point.value, point.step, point.timestamp * 1000)

    def _files(self, run: str, folder: str | None = None) -> Iterator[ForeignFile]:
        for found in self.client.list_artifacts(run, folder):
            if found.is_dir:
                yield from self._files(run, found.path)
            else:
                yield ForeignFile(found.path, partial(self._fetch, run, found.path))

    def _fetch(self, run: str, path: str) -> Path:
        return Path(self.client.download_artifacts(run, path, str(self._folder)))


def _pages(search: Any) -> Iterator[Any]:
    from mlflow.exceptions import MlflowException

    token = None
    while True:
        try:
            page = search(page_token=token)
        except (MlflowException, OSError) as error:
            raise Unavailable(f"MLflow's store cannot be read: {error}") from error
        yield from page
        token = page.token
        if not token:
            return


def _moment(at_ms: int | None) -> datetime:
    with contextlib.suppress(OverflowError, OSError, ValueError):
        return datetime.fromtimestamp((at_ms or 0) / 1000, UTC)
    return datetime.fromtimestamp(0, UTC)
