"""Tracking on each database, and at a distance; artifacts in a local object store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mainspring.core.clock import ManualClock
from mainspring.storage.objects.store import open_objects
from mainspring.storage.sql.database import Database
from mainspring.tracking.service import Tracking


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def tracking(
    database: Database, tmp_path: Path, clock: ManualClock, reached: Callable[[Tracking], Tracking]
) -> Tracking:
    return reached(Tracking(database, open_objects(f"file://{tmp_path / 'objects'}"), clock))
