"""A registry with its scans, on each database and at a distance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mainspring.core.clock import ManualClock
from mainspring.registry.scanning.service import Scans
from mainspring.registry.service import Registry
from mainspring.storage.objects.store import ObjectStore, open_objects
from mainspring.storage.objects.tree import put_tree
from mainspring.storage.sql.database import Database
from tests.registry.graphs import columns_folder
from tests.registry.scanning.payloads import SYSTEM


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return open_objects(f"file://{tmp_path / 'objects'}")


@pytest.fixture
def registry(database: Database, objects: ObjectStore) -> Registry:
    return Registry(database, objects, clock=ManualClock())


@pytest.fixture
def scans(database: Database, objects: ObjectStore, reached: Callable[[Scans], Scans]) -> Scans:
    return reached(Scans(database, objects, ManualClock()))


@pytest.fixture
def clean(objects: ObjectStore, tmp_path: Path) -> str:
    """The tree of a model without any pickle."""
    return put_tree(objects, columns_folder(tmp_path / "clean"))


@pytest.fixture
def evil(objects: ObjectStore, tmp_path: Path) -> str:
    """The tree of a model with a pickle that runs a command."""
    folder = columns_folder(tmp_path / "evil")
    (folder / "notes.txt").write_bytes(SYSTEM)
    return put_tree(objects, folder)
