"""Traces on each database."""

from __future__ import annotations

import pytest

from mainspring.core.clock import ManualClock
from mainspring.storage.sql.database import Database
from mainspring.traces.service import Traces


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def traces(database: Database, clock: ManualClock) -> Traces:
    return Traces(database, clock)
