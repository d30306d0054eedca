"""A registry of three models, and everything else as it is in production."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from mainspring.core.clock import ManualClock
from mainspring.core.errors import NotFound
from mainspring.features.model import Feature, FeatureView
from mainspring.planes.serving_files import ModelFolders, StatePublisher
from mainspring.registry.signature import Field, Signature
from mainspring.releases.model import Candidate
from mainspring.releases.service import Releases
from mainspring.releases.stages import Stage
from mainspring.runtime.snapshots import Watcher
from mainspring.serving.model import EndpointState, FeatureBinding, ServingState, decode_state
from mainspring.storage.objects.drivers.local import LocalObjects
from mainspring.storage.objects.tree import put_tree
from mainspring.storage.sql.database import Database

SIGNATURE = Signature(inputs=[Field("age", "double"), Field("trips", "long")], outputs=[Field("label", "long")])


class Shelf:
    """Model versions by ref, with their files in a real object store, the stage that each was given, and the views."""

    def __init__(self, folder: Path) -> None:
        self.objects = LocalObjects(folder / "objects")
        self.candidates: dict[str, Candidate] = {}
        self.aliases: dict[str, str] = {}
        self.stages: dict[str, Stage] = {}
        self._folder = folder

    def add(self, model: str, **changes: object) -> Candidate:
        files = self._folder / model.replace(":", "-")
        files.mkdir()
        (files / "model.onnx").write_text(model)
        pinned = Candidate(
            model=model,
            digest=put_tree(self.objects, files),
            engine="onnx",
            signature=SIGNATURE,
            task="binary",
            metric="accuracy",
            dataset=f"dataset:trips@{model.rpartition('@')[2]}",
        )
        self.candidates[model] = msgspec.structs.replace(pinned, **changes)
        return self.candidates[model]

    def candidate(self, model: str) -> Candidate:
        found = self.candidates.get(self.aliases.get(model, model))
        if found is None:
            raise NotFound(f"no model {model}")
        return found

    def readable(self, view: str) -> FeatureView:
        """Give a version of the view rider; the latest is 3."""
        name, _, version = view.removeprefix("feature_view:").partition("@")
        if name != "rider" or int(version or 3) > 3:
            raise NotFound(f"there is no feature view {view}")
        return FeatureView(
            name=name,
            version=int(version or 3),
            dataset="dataset:rides",
            keys=["rider"],
            time_column="at",
            features=[Feature("age", "age"), Feature("trips", "trip", "count"), Feature("town", "town")],
            max_age=None,
            created=datetime(2026, 1, 1, tzinfo=UTC),
        )

    def set_stage(self, model: str, stage: Stage) -> None:
        self.stages[model] = stage


class Wire:
    """Publishes to a real folder of snapshots, and reads back what a data worker would."""

    def __init__(self, folder: Path) -> None:
        self._publisher = StatePublisher(folder)
        self._watcher = Watcher(folder)

    def publish(self, state: ServingState) -> None:
        self._publisher.publish(state)

    @property
    def published(self) -> ServingState:
        snapshot = self._watcher.poll() or self._watcher.current()
        assert snapshot is not None
        return decode_state(snapshot.payload)

    def served(self, endpoint: str) -> EndpointState:
        [found] = [state for state in self.published.endpoints if state.name == endpoint]
        return found


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    shelf = Shelf(tmp_path)
    for version in (1, 2, 3):
        shelf.add(f"model:churn@{version}")
    shelf.aliases["model:churn@champion"] = "model:churn@1"
    return shelf


@pytest.fixture
def wire(tmp_path: Path) -> Wire:
    return Wire(tmp_path / "snapshots")


@pytest.fixture
def releases(
    database: Database,
    shelf: Shelf,
    wire: Wire,
    tmp_path: Path,
    clock: ManualClock,
    reached: Callable[[Releases], Releases],
) -> Releases:
    folders = ModelFolders(shelf.objects, tmp_path / "models")
    near = Releases(database, models=shelf, views=shelf, folders=folders, publisher=wire, stages=shelf, clock=clock)
    return reached(near)


@pytest.fixture
def features() -> Callable[[int], FeatureBinding]:
    def binding(version: int) -> FeatureBinding:
        return FeatureBinding(view=f"feature_view:rider@{version}", key="rider", columns=["age"])

    return binding
