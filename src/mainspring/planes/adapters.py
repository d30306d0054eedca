"""The joints between rooms that do not know each other: what one asks for, answered by another."""

from __future__ import annotations

from typing import Any

import polars as pl

from mainspring.core.refs import Ref
from mainspring.datasets.model import DatasetVersion
from mainspring.datasets.service import Datasets
from mainspring.registry.model import ModelVersion, Stage
from mainspring.registry.service import Registry
from mainspring.releases.model import Candidate


class TrainingData:
    """The datasets as training asks for them: by ref."""

    def __init__(self, datasets: Datasets) -> None:
        self._datasets = datasets

    def get_version(self, dataset: str) -> DatasetVersion:
        """Give the version that a ref stands for."""
        return self._datasets.resolve(dataset)

    def read(self, dataset: str) -> pl.DataFrame:
        """Give its rows."""
        version = self._datasets.resolve(dataset)
        return self._datasets.read(version.dataset, version.version)


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


def plain(value: Any) -> Any:
    """Give a cell of a frame as JSON has it."""
    return value.isoformat() if hasattr(value, "isoformat") else value
