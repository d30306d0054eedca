"""A registry on each database with its catalogue, and trees to register."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainspring.core.clock import ManualClock
from mainspring.registry.catalogue.service import Catalogue
from mainspring.registry.service import Registry
from mainspring.storage.objects.store import ObjectStore, open_objects
from mainspring.storage.objects.tree import put_tree
from mainspring.storage.sql.database import Database
from tests.registry.conftest import FolderScorer
from tests.registry.graphs import columns_folder


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return open_objects(f"file://{tmp_path / 'objects'}")


@pytest.fixture
def registry(database: Database, objects: ObjectStore, tmp_path: Path) -> Registry:
    return Registry(database, objects, FolderScorer(objects, tmp_path / "open"), ManualClock())


@pytest.fixture
def catalogue(registry: Registry) -> Catalogue:
    return Catalogue(registry)


@pytest.fixture
def digest(objects: ObjectStore, tmp_path: Path) -> str:
    """The tree of a model that answers yes above 0."""
    return put_tree(objects, columns_folder(tmp_path / "zero"))
