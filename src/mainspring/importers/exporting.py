"""Runs are taken back to MLflow, into any store that its own client writes to; may be broken off and repeated."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mainspring.core.errors import MainspringError
from mainspring.importers.mlflow import client_of
from mainspring.importers.model import Problem, Report
from mainspring.tracking.model import Artifact, RunDetails

if TYPE_CHECKING:
    from mainspring.client.session import Session

EXPORTED = "mainspring.run"
"""The tag of a run there that says which run here it is; the other says that all of it has arrived."""
WHOLE = "mainspring.exported"
_PAGE, _PARAMS, _POINTS = 200, 100, 1_000


class MlflowExport:
    """Writes runs of a session to an MLflow store."""

    def __init__(self, session: Session, place: str, told: Callable[[str], None] | None = None) -> None:
        """Write to *place*, a URL, a folder or a database; raises MissingExtra and Unavailable."""
        self._session, self._place = session, place
        self._client = client_of(place)
        self._told = told or (lambda line: None)

    def take(self, experiments: Sequence[str] = ()) -> Report:
        """Take the runs of some experiments, or of all, there; what fails is told, and the others go on."""
        counts = {"runs": 0, "unchanged": 0, "points": 0, "files": 0}
        problems: list[Problem] = []
        for details in self._runs(list(experiments)):
            run = details.run
            try:
                done = self._take(details)
            except (MainspringError, OSError, _mlflow_error()) as error:
                problems.append(Problem(f"run {run.id}", str(error)))
                self._told(f"refused   {run.id}  {run.experiment}: {error}")
                continue
            counts["unchanged" if done is None else "runs"] += 1
            counts["points"] += done[0] if done else 0
            counts["files"] += done[1] if done else 0
            self._told(f"{'exported ' if done else 'unchanged'} {run.id}  {run.experiment}")
        return Report(f"to mlflow {self._place}", problems=problems, **counts)

    def _runs(self, experiments: list[str]) -> Iterator[RunDetails]:
        page = None
        while True:
            found = self._session.tracking.search_runs(
                experiments, order_by=["attributes.start_time ASC"], limit=_PAGE, page=page, archived="shown"
            )
            yield from found.runs
            page = found.next_page
            if page is None:
                return

    def _take(self, details: RunDetails) -> tuple[int, int] | None:
        from mlflow.entities import Param, RunTag

        run = details.run
        owner = self._experiment(run.experiment)
        known = self._client.search_runs([owner], f"tags.`{EXPORTED}` = '{run.id}'", max_results=1)
        if known and known[0].data.tags.get(WHOLE) == _state(details):
            return None
        tags = {**details.tags, EXPORTED: run.id, "mlflow.user": run.user or ""}
        there: str = (
            known[0].info.run_id
            if known
            else self._client.create_run(owner, _milliseconds(run.started), tags, run.name).info.run_id
        )
        for params in _parts(details.params.items(), _PARAMS):
            self._client.log_batch(there, params=[Param(key, value) for key, value in params])
        self._client.log_batch(there, tags=[RunTag(key, value) for key, value in islice(tags.items(), _PARAMS)])
        points = sum(self._points(run.id, there, key) for key in details.metrics)
        files = sum(self._file(run.id, there, artifact) for artifact in self._artifacts(run.id))
        self._client.set_tag(there, WHOLE, _state(details))
        if run.ended is not None:
            self._client.set_terminated(there, run.status.upper(), _milliseconds(run.ended))
        return points, files

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found is not None else self._client.create_experiment(name))

    def _points(self, run: str, there: str, key: str) -> int:
        from mlflow.entities import Metric

        sent, page = 0, None
        while True:
            part = self._session.tracking.metric_history(run, key, page=page)
            points = zip(part.values, part.at_us, part.steps, strict=True)
            for some in _parts(points, _POINTS):
                self._client.log_batch(
                    there, metrics=[Metric(key, float(value), at_us // 1000, step) for value, at_us, step in some]
                )
            sent += len(part.steps)
            page = part.next_page
            if page is None:
                return sent

    def _artifacts(self, run: str) -> Iterator[Artifact]:
        after = ""
        while found := self._session.tracking.list_artifacts(run, after=after):
            yield from found
            after = found[-1].path

    def _file(self, run: str, there: str, artifact: Artifact) -> int:
        folder, _, name = artifact.path.rpartition("/")
        with tempfile.TemporaryDirectory(prefix="mainspring-export-") as held:
            file = Path(held) / name
            self._session.objects.get_file(artifact.digest, file)
            self._client.log_artifact(there, str(file), folder or None)
        return 1


def _state(details: RunDetails) -> str:
    latest = max((metric.at_us or 0 for metric in details.metrics.values()), default=0)
    return f"{details.run.status} {latest} {len(details.metrics)} {len(details.params)} {len(details.tags)}"


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _mlflow_error() -> type[Exception]:
    from mlflow.exceptions import MlflowException

    return MlflowException


def _parts(items: Any, size: int) -> Iterator[list[Any]]:
    left = iter(items)
    while part := list(islice(left, size)):
        yield part
