"""A registry on a real database and object store, and a scorer that opens what would be served."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mainspring.core.clock import ManualClock
from mainspring.registry.model import ModelVersion
from mainspring.registry.service import Registry
from mainspring.serving.engine.session import Session, open_session
from mainspring.storage.objects.store import ObjectStore, open_objects
from mainspring.storage.objects.tree import get_tree, put_tree
from mainspring.storage.sql.database import Database
from tests.registry.graphs import columns_folder


class FolderScorer:
    """Opens versions from folders, as the data plane does."""

    def __init__(self, objects: ObjectStore, folder: Path) -> None:
        self.objects, self.folder = objects, folder

    def open(self, version: ModelVersion) -> Session:
        folder = self.folder / version.digest[-16:]
        if not folder.exists():
            get_tree(self.objects, version.digest, folder)
        return open_session(folder, engine=version.engine, trusted=version.trusted)


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return open_objects(f"file://{tmp_path / 'objects'}")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def registry(
    database: Database,
    objects: ObjectStore,
    tmp_path: Path,
    clock: ManualClock,
    reached: Callable[[Registry], Registry],
) -> Registry:
    return reached(Registry(database, objects, FolderScorer(objects, tmp_path / "open"), clock))


@pytest.fixture
def digest(objects: ObjectStore, tmp_path: Path) -> str:
    """The tree of a model that answers yes above 0."""
    return put_tree(objects, columns_folder(tmp_path / "zero"))


@pytest.fixture
def worse(objects: ObjectStore, tmp_path: Path) -> str:
    """The tree of a model that answers yes only above 1."""
    return put_tree(objects, columns_folder(tmp_path / "one", cut=1.0))
