"""A features service over real stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mainspring.core.clock import ManualClock
from mainspring.datasets.service import Datasets
from mainspring.features.service import Features
from mainspring.storage.kv.store import open_kv
from mainspring.storage.objects.store import open_objects
from mainspring.storage.sql.database import Database
from mainspring.storage.tables.store import open_tables


@pytest.fixture
def features(database: Database, tmp_path: Path, reached: Callable[[Features], Features]) -> Iterator[Features]:
    """Features on a database of each kind and at a distance, Delta tables and an embedded key-value store."""
    clock = ManualClock()
    datasets = Datasets(database, open_tables(f"file://{tmp_path}/tables"), open_objects(f"file://{tmp_path}/o"), clock)
    kv = open_kv(f"lmdb://{tmp_path}/kv")
    yield reached(Features(database, datasets, kv, clock))
    kv.close()
