"""A datasets service over real stores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mainspring.core.clock import ManualClock
from mainspring.datasets.service import Datasets
from mainspring.storage.objects.store import open_objects
from mainspring.storage.sql.database import Database
from mainspring.storage.tables.store import open_tables


@pytest.fixture
def clock() -> ManualClock:
    """The clock of the service."""
    return ManualClock()


@pytest.fixture
def datasets(
    database: Database, tmp_path: Path, clock: ManualClock, reached: Callable[[Datasets], Datasets]
) -> Datasets:
    """Datasets on a database of each kind and at a distance, with Delta tables in a folder."""
    objects = open_objects(f"file://{tmp_path}/objects")
    return reached(Datasets(database, open_tables(f"file://{tmp_path}/tables"), objects, clock))
