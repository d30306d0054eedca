"""A whole platform's tables on each database, and the collector also at a distance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import mainspring.planes.embedded  # noqa: F401  (with it every room's tables are known)
from mainspring.core.clock import ManualClock
from mainspring.retention.service import GarbageCollector
from mainspring.storage.objects.drivers.local import LocalObjects
from mainspring.storage.sql.database import Database, open_database
from mainspring.tracking.organising.experiments import ExperimentOrganiser
from mainspring.tracking.organising.runs import RunOrganiser
from mainspring.tracking.service import Tracking


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url)
    opened.create_all()
    yield opened
    opened.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def objects(tmp_path: Path) -> LocalObjects:
    return LocalObjects(tmp_path / "objects")


@pytest.fixture
def tracking(database: Database, objects: LocalObjects, clock: ManualClock) -> Tracking:
    return Tracking(database, objects, clock)


@pytest.fixture
def experiments(database: Database, clock: ManualClock) -> ExperimentOrganiser:
    return ExperimentOrganiser(database, clock)


@pytest.fixture
def runs(database: Database, clock: ManualClock) -> RunOrganiser:
    return RunOrganiser(database, clock)


@pytest.fixture
def garbage(
    database: Database,
    objects: LocalObjects,
    clock: ManualClock,
    reached: Callable[[GarbageCollector], GarbageCollector],
) -> GarbageCollector:
    return reached(GarbageCollector(database, objects, clock))
