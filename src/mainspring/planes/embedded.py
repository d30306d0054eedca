"""The embedded platform: every service of the house, put together in this process on one home folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mainspring.runtime.outbox_store
import mainspring.runtime.timers  # noqa: F401  (no service below imports them, and they have tables too)
from mainspring.access.service import Access
from mainspring.client.credentials import owner_token
from mainspring.client.session import Session, connect
from mainspring.core.errors import Unavailable
from mainspring.core.settings import Settings
from mainspring.datasets.evaluation.service import EvaluationDatasets
from mainspring.datasets.service import Datasets
from mainspring.features.service import Features
from mainspring.lineage.service import Lineage
from mainspring.monitoring.service import Monitoring
from mainspring.pipelines.service import Pipelines
from mainspring.planes.adapters import CardRuns, GateRows, ReleasableModels, ServableModels, ServedScorer, hold_during
from mainspring.planes.schema import migrate
from mainspring.planes.serving_files import ModelFolders, StatePublisher
from mainspring.predictions.log import PredictionLog
from mainspring.protocols.mlflow.webhook_events import MlflowVocabulary
from mainspring.registry.cards.service import Cards
from mainspring.registry.catalogue.service import Catalogue
from mainspring.registry.history.service import Histories
from mainspring.registry.hub.service import HubModels
from mainspring.registry.lifecycle.service import ModelLifecycle
from mainspring.registry.logged.service import LoggedModels
from mainspring.registry.promotions.service import Promotions
from mainspring.registry.scanning.service import Scans
from mainspring.registry.service import Registry
from mainspring.releases.service import Releases
from mainspring.retention.service import GarbageCollector
from mainspring.rollouts.evidence import ArmEvidence
from mainspring.rollouts.service import Rollouts
from mainspring.runtime.home_lock import home_owner
from mainspring.scorers.service import Scorers
from mainspring.storage.kv.store import KeyValueStore, open_kv
from mainspring.storage.locations import url_of
from mainspring.storage.objects.store import open_objects
from mainspring.storage.secrets import SecretBox
from mainspring.storage.sql.database import Database, open_database, sqlite_url
from mainspring.storage.tables.store import open_tables
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
from mainspring.webhooks.sending import Sender
from mainspring.webhooks.service import Webhooks
from mainspring.webhooks.vocabulary import Journal


class Platform(Session):
    """A session whose services run here, with the stores that they stand on."""

    def __init__(self, settings: Settings) -> None:
        """Open the stores of *settings*, made where they are not there, and bring the schema up to date.

        Raises Unavailable when a store cannot be reached or written, SchemaTooNew for a database of a newer version.
        """
        self.settings = settings
        self.home = Path(settings.home).absolute()
        try:
            self.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(
                f"the home {self.home} cannot be made: {error.strerror}; choose another with --home"
            ) from error
        self.database: Database = open_database(settings.database_url or sqlite_url(self.home / "mainspring.db"))
        migrate(self.database, all_known=True)
        self.tables = open_tables(settings.tables_url or url_of("file", self.home / "tables"))
        self.kv: KeyValueStore = open_kv(settings.kv_url or url_of("lmdb", self.home / "kv"))
        objects = open_objects(settings.objects_url or url_of("file", self.home / "objects"))
        self.folders = ModelFolders(objects, self.home / "models")
        super().__init__(self._services(objects), objects, self._close_stores, spool=self.home / "run-spool")
        self.catalogue, self.logged_models = Catalogue(self.registry), LoggedModels(self.database)

    def _services(self, objects: Any) -> dict[str, Any]:
        database = self.database
        datasets = Datasets(database, self.tables, objects)
        tracking = Tracking(database, objects)
        registry = Registry(database, objects, ServedScorer(self.folders), rows=GateRows(datasets))
        predictions = PredictionLog(self.tables, database, self.home / "spool")
        models = ReleasableModels(registry)
        publisher = StatePublisher(self.home / "snapshots")
        features = Features(database, datasets, self.kv)
        releases = Releases(
            database, models=models, views=features, folders=self.folders, publisher=publisher, stages=models
        )
        pipelines = Pipelines(database)
        monitoring = Monitoring(database, predictions)
        rollouts = Rollouts(database, canaries=releases, statistics=ArmEvidence(predictions, ServableModels(registry)))
        return {
            "datasets": datasets,
            "features": features,
            "tracking": tracking,
            "experiments": ExperimentOrganiser(database),
            "runs": RunOrganiser(database),
            "run_editor": RunEditor(database),
            "traces": Traces(database),
            "trace_metrics": TraceMetrics(database),
            "issues": Issues(database, tracking.experiments.get),
            "label_schemas": LabelSchemas(database, tracking.experiments.get),
            "media": Media(database),
            "alerts": Alerts(database),
            "evaluation_datasets": EvaluationDatasets(database, tracking.experiments.get),
            "scorers": Scorers(database, tracking.experiments.get),
            "registry": registry,
            "scans": Scans(database, objects),
            "histories": Histories(database),
            "promotions": Promotions(registry),
            "cards": Cards(database, objects, CardRuns(tracking)),
            "hub": HubModels(Catalogue(registry)),
            "models": ModelLifecycle(Catalogue(registry)),
            "predictions": predictions,
            "lineage": Lineage(database),
            "training": Training(database, datasets, tracking, objects),
            "pipelines": pipelines,
            "monitoring": monitoring,
            "releases": releases,
            "rollouts": rollouts,
            "garbage": GarbageCollector(database, objects),
            "triggers": Triggers(database, pipelines, monitoring, predictions, hold=hold_during(rollouts)),
            "webhooks": self._webhooks(),
            "access": Access(database, self.settings.auth_default_permission),
        }

    def _webhooks(self) -> Webhooks:
        settings = self.settings
        key = Path(settings.secret_key_file) if settings.secret_key_file else self.home / "secret.key"
        sender = Sender(private_targets=settings.webhook_private_targets, timeout_s=settings.webhook_timeout_s)
        return Webhooks(self.database, SecretBox(key), [Journal(), MlflowVocabulary()], sender)

    def _close_stores(self) -> None:
        self.kv.close()
        self.database.close()


def open_platform(settings: Settings) -> Platform:
    """Open the platform of a home folder in this process."""
    return Platform(settings)


def attach(settings: Settings) -> Session:
    """Give a session with what *settings* mean: a control plane by URL, the one that runs on the home, or the home."""
    if settings.url:
        return connect(settings.url, settings.cache, settings.token)
    owner = home_owner(settings.home)
    if owner is not None and "control" in owner.urls:
        return connect(owner.urls["control"], settings.cache, settings.token or owner_token(settings.home))
    return open_platform(settings)
