"""The verbs that keep order, on each database and at a distance."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mainspring.core.clock import ManualClock
from mainspring.storage.sql.database import Database
from mainspring.tracking.organising.experiments import ExperimentOrganiser
from mainspring.tracking.organising.runs import RunOrganiser


@pytest.fixture
def experiments(
    database: Database, clock: ManualClock, reached: Callable[[ExperimentOrganiser], ExperimentOrganiser]
) -> ExperimentOrganiser:
    return reached(ExperimentOrganiser(database, clock))


@pytest.fixture
def runs(database: Database, clock: ManualClock, reached: Callable[[RunOrganiser], RunOrganiser]) -> RunOrganiser:
    return reached(RunOrganiser(database, clock))
