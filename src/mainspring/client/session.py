"""A session: every service of a platform under one roof, the same whether it runs here or at a distance."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import httpx2

from mainspring.client.credentials import login
from mainspring.client.objects import RemoteObjects
from mainspring.client.places import check_url, spool_of
from mainspring.client.remote import remote
from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.core.events import Edge
from mainspring.core.refs import Ref
from mainspring.core.settings import Settings
from mainspring.lineage.model import Direction, Trace
from mainspring.storage.objects.tree import put_tree

if TYPE_CHECKING:
    from mainspring.access.service import Access
    from mainspring.client.logging import RunLogger, Value
    from mainspring.datasets.evaluation.service import EvaluationDatasets
    from mainspring.datasets.model import DatasetVersion
    from mainspring.datasets.service import Datasets
    from mainspring.features.service import Features
    from mainspring.lineage.service import Lineage
    from mainspring.monitoring.service import Monitoring
    from mainspring.pipelines.service import Pipelines
    from mainspring.predictions.log import PredictionLog
    from mainspring.registry.cards.service import Cards
    from mainspring.registry.history.service import Histories
    from mainspring.registry.hub.service import HubModels
    from mainspring.registry.lifecycle.service import ModelLifecycle
    from mainspring.registry.model import ModelVersion
    from mainspring.registry.promotions.service import Promotions
    from mainspring.registry.scanning.service import Scans
    from mainspring.registry.service import Registry
    from mainspring.releases.service import Releases
    from mainspring.retention.service import GarbageCollector
    from mainspring.rollouts.service import Rollouts
    from mainspring.scorers.service import Scorers
    from mainspring.storage.objects.store import ObjectStore
    from mainspring.traces.issues.service import Issues
    from mainspring.traces.label_schemas.service import LabelSchemas
    from mainspring.traces.metrics.service import TraceMetrics
    from mainspring.traces.service import Traces
    from mainspring.tracking.alerts.service import Alerts
    from mainspring.tracking.editing.service import RunEditor
    from mainspring.tracking.media.service import Media
    from mainspring.tracking.organising.experiments import ExperimentOrganiser
    from mainspring.tracking.organising.runs import RunOrganiser
    from mainspring.tracking.service import Tracking
    from mainspring.training.service import Training
    from mainspring.triggers.service import Triggers
    from mainspring.webhooks.service import Webhooks

END_WITHIN_S = 30.0
"""How long closing a session waits for what was logged to arrive; what did not is sent by a later session."""

SERVICES = {
    "datasets": "mainspring.datasets.service:Datasets",
    "features": "mainspring.features.service:Features",
    "tracking": "mainspring.tracking.service:Tracking",
    "experiments": "mainspring.tracking.organising.experiments:ExperimentOrganiser",
    "runs": "mainspring.tracking.organising.runs:RunOrganiser",
    "run_editor": "mainspring.tracking.editing.service:RunEditor",
    "traces": "mainspring.traces.service:Traces",
    "trace_metrics": "mainspring.traces.metrics.service:TraceMetrics",
    "issues": "mainspring.traces.issues.service:Issues",
    "label_schemas": "mainspring.traces.label_schemas.service:LabelSchemas",
    "media": "mainspring.tracking.media.service:Media",
    "alerts": "mainspring.tracking.alerts.service:Alerts",
    "evaluation_datasets": "mainspring.datasets.evaluation.service:EvaluationDatasets",
    "scorers": "mainspring.scorers.service:Scorers",
    "registry": "mainspring.registry.service:Registry",
    "scans": "mainspring.registry.scanning.service:Scans",
    "histories": "mainspring.registry.history.service:Histories",
    "promotions": "mainspring.registry.promotions.service:Promotions",
    "cards": "mainspring.registry.cards.service:Cards",
    "hub": "mainspring.registry.hub.service:HubModels",
    "models": "mainspring.registry.lifecycle.service:ModelLifecycle",
    "predictions": "mainspring.predictions.log:PredictionLog",
    "lineage": "mainspring.lineage.service:Lineage",
    "training": "mainspring.training.service:Training",
    "pipelines": "mainspring.pipelines.service:Pipelines",
    "monitoring": "mainspring.monitoring.service:Monitoring",
    "releases": "mainspring.releases.service:Releases",
    "rollouts": "mainspring.rollouts.service:Rollouts",
    "triggers": "mainspring.triggers.service:Triggers",
    "webhooks": "mainspring.webhooks.service:Webhooks",
    "garbage": "mainspring.retention.service:GarbageCollector",
    "access": "mainspring.access.service:Access",
}
"""The services of a platform by the name of the session's attribute; the order is that of the loop."""


class Session:
    """A platform to work with. `mainspring.open` gives one in this process, `mainspring.connect` one at a distance.

    Its services (``datasets``, ``registry``, ...) have every operation of the API; the methods here join some of them
    with local files and frames. Use it in a ``with`` block, or call `close`.
    """

    datasets: Datasets
    features: Features
    tracking: Tracking
    experiments: ExperimentOrganiser
    runs: RunOrganiser
    run_editor: RunEditor
    traces: Traces
    trace_metrics: TraceMetrics
    issues: Issues
    label_schemas: LabelSchemas
    media: Media
    alerts: Alerts
    evaluation_datasets: EvaluationDatasets
    scorers: Scorers
    registry: Registry
    scans: Scans
    histories: Histories
    promotions: Promotions
    cards: Cards
    hub: HubModels
    models: ModelLifecycle
    predictions: PredictionLog
    lineage: Lineage
    training: Training
    pipelines: Pipelines
    monitoring: Monitoring
    releases: Releases
    rollouts: Rollouts
    triggers: Triggers
    webhooks: Webhooks
    garbage: GarbageCollector
    access: Access

    def __init__(
        self, services: dict[str, Any], objects: ObjectStore, close: Callable[[], None], *, spool: Path
    ) -> None:
        """Join *services*; *spool* is the folder of this machine where logged runs wait until they have arrived."""
        for name in SERVICES:
            setattr(self, name, services[name])
        self.objects = objects
        self._close = close
        self._spool = spool
        self._loggers: list[RunLogger] = []

    def import_dataset(
        self,
        name: str,
        source: Any,
        *,
        key: str | Sequence[str] | None = None,
        time: str | None = None,
        **options: Any,
    ) -> DatasetVersion:
        """Make a new version of dataset *name* from a file (CSV, Parquet, Arrow) or a frame.

        A frame is one of polars, pandas or pyarrow. *key* names the columns that tell the rows apart, *time* the one
        with the time of each row; *options* are the others of ``datasets.create_version``: ``mode``, ``evolve``,
        ``check`` and so on. Raises InvalidRequest when there is no such file, InvalidData for what is wrong with it,
        and QualityFailed with the offending rows.
        """
        if isinstance(source, str | Path):
            path = Path(source)
            if not path.is_file():
                raise InvalidRequest(f"there is no file {path}")
            digest = self.objects.put_file(path)
        else:
            digest = self.objects.put_bytes(_parquet(source))
        names = [key] if isinstance(key, str) else None if key is None else [*key]
        return self.datasets.create_version(name, digest=digest, key=names, time_column=time, **options)

    def import_model(self, name: str, path: str | Path, **options: Any) -> ModelVersion:
        """Register an ONNX file or an MLmodel directory as the next version of model *name*.

        *options* are those of ``registry.register``. Raises InvalidData when it is neither.
        """
        source = Path(path)
        if source.is_dir():
            return self.registry.register(name, digest=put_tree(self.objects, source), **options)
        if not source.is_file():
            raise InvalidRequest(f"there is no file or folder {source}")
        return self.registry.register(name, digest=self.objects.put_file(source), **options)

    def import_hub_model(
        self,
        name: str,
        source: str | Path,
        *,
        endpoint: str | None = None,
        token: str | None = None,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
    ) -> ModelVersion:
        """Make a version of a model of a hub: ``hf:ORG/NAME@REVISION``, or a folder in the layout of a hub's cache.

        Every file is held against the digest that the hub gives; of weights that are there twice the safetensors are
        taken. What was downloaded is kept in the cache of this machine. *include* and *exclude* are patterns of paths.
        Raises NotFound, Forbidden for terms that are not accepted yet, Corrupt, UnsafeModel, Unavailable.
        """
        from mainspring.client.hub import import_hub_model

        kept = self._spool.parent
        return import_hub_model(self.objects, self.hub, name, source, kept, endpoint, token, include, exclude)

    def start_run(
        self,
        experiment: str,
        name: str | None = None,
        *,
        params: Mapping[str, Value] | None = None,
        tags: Mapping[str, str] | None = None,
        parent: str | None = None,
        run: str | None = None,
        primary: bool = True,
        capture: str | None = None,
    ) -> RunLogger:
        """Start a run and log to it without waiting; best in a ``with`` block, which ends the run as the block ends.

        With the id of a *run* that one is gone on with; of several processes that log to it one is *primary*.

        What is logged reaches a folder of this machine at once and the platform when it answers, each thing once and
        in order, if need be by a later session. Raises InvalidRequest for a bad name or what is too long.
        """
        from mainspring.client.sending import Link
        from mainspring.client.starting import start_run
        from mainspring.core.settings import load_settings

        link = Link(lambda: self, owned=False)
        logger = start_run(
            link,
            experiment,
            name,
            spool=self._spool,
            run=run,
            primary=primary,
            parent=parent,
            params=params,
            tags=tags,
            capture=capture or load_settings().settings.capture,
        )
        self._loggers = [*(one for one in self._loggers if not one.closed), logger]
        return logger

    def trace(self, ref: str, direction: Direction = "up", depth: int = 32) -> Trace:
        """Follow the lineage of *ref*; a prediction leads to its release, and from there on up, and to nothing below.

        A model or dataset without a version stands for its latest one. Raises NotFound when nothing is known of it.
        """
        parsed = Ref.parse(ref)
        if parsed.kind != "prediction":
            return self.lineage.trace(self._versioned(parsed), direction, depth)
        made_by = self._release_of(parsed.name)
        if direction == "down":
            return Trace(ref, "down", [], False)
        first = Edge(made_by, "Predicted", ref)
        above = self.lineage.trace(made_by, "up", depth)
        return Trace(ref, direction, [first, *above.edges], above.cut)

    def _versioned(self, ref: Ref) -> str:
        if ref.version is None and ref.alias is None and ref.kind == "model":
            return self.registry.resolve(str(ref)).ref
        if ref.version is None and ref.alias is None and ref.kind == "dataset":
            return self.datasets.latest(ref.name).ref
        return str(ref)

    def _release_of(self, prediction: str) -> str:
        for endpoint in self.releases.list():
            with contextlib.suppress(NotFound):
                return self.predictions.prediction(endpoint.name, prediction).release
        raise NotFound(f"no endpoint has logged a prediction {prediction}; the log follows the answers by some seconds")

    def close(self) -> None:
        """Let go of files and connections; runs that were not ended end now, as finished."""
        self._end_runs(None)
        self._close()

    def _end_runs(self, error: BaseException | None) -> None:
        deadline = time.monotonic() + END_WITHIN_S
        for logger in self._loggers:
            if not logger.closed:
                logger.end_after(error, timeout_s=max(0.0, deadline - time.monotonic()))
        self._loggers.clear()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end_runs(error)
        self.close()


def connect(url: str, cache: str = Settings().cache, token: str = "") -> Session:
    """Give a session with the control plane at *url*, such as ``http://127.0.0.1:7700``; *cache* as in the settings.

    With a *token* it logs in. Raises InvalidRequest for what is no URL of HTTP; whether somebody answers there, the
    first call tells.
    """
    from importlib import import_module

    check_url(url)

    headers = {"content-type": "application/json", **login(token)}
    http = httpx2.Client(base_url=url, headers=headers, timeout=httpx2.Timeout(600.0, connect=5.0))
    services: dict[str, Any] = {}
    for name, place in SERVICES.items():
        module, attribute = place.split(":")
        services[name] = remote(getattr(import_module(module), attribute), http)
    return Session(services, RemoteObjects(http), http.close, spool=spool_of(url, cache))


def _parquet(frame: Any) -> bytes:
    from mainspring.datasets.reading import read_frame

    buffer = io.BytesIO()
    read_frame(frame).frame.write_parquet(buffer)
    return buffer.getvalue()
