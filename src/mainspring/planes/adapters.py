"""The joints between rooms that do not know each other: what one asks for, answered by another."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import polars as pl

from mainspring.core.refs import Ref
from mainspring.planes.serving_files import ModelFolders
from mainspring.predictions.log import PredictionLog
from mainspring.registry.answers import scores_of, truth_of
from mainspring.registry.model import ModelVersion, Stage
from mainspring.registry.quality import default_metric, losses
from mainspring.registry.service import Registry
from mainspring.releases.model import Candidate
from mainspring.rollouts.model import ArmReading, Reading
from mainspring.rollouts.sequential import Sample
from mainspring.serving.engine.session import Session, open_session


class ReleasableModels:
    """The registry as releases ask for it: what a release pins of a model version, and its stage."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def candidate(self, model: str) -> Candidate:
        """Give what the registry knows of a version named by ref; raises NotFound."""
        version: ModelVersion = self._registry.resolve(model)
        info = version.info
        return Candidate(
            model=version.ref,
            digest=version.digest,
            engine=version.engine,
            signature=info.signature,
            task=info.task,
            metric=info.metric,
            classes=info.classes,
            dataset=version.dataset,
            trusted=version.trusted,
        )

    def set_stage(self, model: str, stage: Stage) -> None:
        """Record the stage of a version."""
        ref = Ref.parse(model, kind="model")
        assert ref.version is not None
        self._registry.set_stage(ref.name, ref.version, stage)


class ServedScorer:
    """Opens model versions as the data plane would serve them."""

    def __init__(self, folders: ModelFolders) -> None:
        self._folders = folders

    def open(self, version: ModelVersion) -> Session:
        """Open a version from its folder; raises Forbidden for code of unknown origin."""
        folder = self._folders.materialise(version.digest)
        return open_session(folder, engine=version.engine, signature=version.info.signature, trusted=version.trusted)


class ArmEvidence:
    """The prediction log as rollouts ask for it: what two releases of an endpoint did."""

    def __init__(self, predictions: PredictionLog, registry: Registry) -> None:
        self._predictions, self._registry = predictions, registry

    def read(
        self,
        endpoint: str,
        *,
        stable: str,
        canary: str,
        since: datetime,
        step_since: datetime,
        slow_us: int | None,
        quantile: float,
    ) -> Reading:
        """Count what both releases answered; losses are those of the model's metric on labelled rows."""
        rows = self._predictions.read(endpoint, start=since, columns={}).rows
        arms = [
            self._arm(rows.filter(pl.col("release") == name), step_since, slow_us, quantile)
            for name in (stable, canary)
        ]
        return Reading(stable=arms[0], canary=arms[1])

    def _arm(self, rows: pl.DataFrame, step_since: datetime, slow_us: int | None, quantile: float) -> ArmReading:
        # The rows of one request share the first 26 characters of their ids.
        requests = rows.unique(pl.col("prediction_id").str.slice(0, 26).alias("request"), maintain_order=True)
        dealt = requests.filter(pl.col("at") >= step_since)
        units = dealt["unit"].drop_nulls().n_unique() + dealt["unit"].null_count()
        return ArmReading(
            requests=requests.height,
            errors=requests.filter(pl.col("status") >= 500).height,
            assigned=units,
            slow=0 if slow_us is None else requests.filter(pl.col("latency_us") > slow_us).height,
            latency_us=requests["latency_us"].quantile(quantile) if requests.height else None,
            losses=self._losses(rows.filter(pl.col("label").is_not_null(), pl.col("status") < 400)),
        )

    def _losses(self, rows: pl.DataFrame) -> Sample:
        if rows.is_empty():
            return Sample()
        info = self._registry.resolve(rows["model"][0]).info
        if info.task is None:
            return Sample()
        outputs = _columns([msgspec.json.decode(text) for text in rows["output"]])
        truth = truth_of(info, [msgspec.json.decode(text) for text in rows["label"]])
        found = losses(info.metric or default_metric(info.task), truth, scores_of(info, outputs))
        return Sample(len(found), float(found.sum()), float((found * found).sum()))


def _columns(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: [row[name] for row in rows] for name in rows[0]}
