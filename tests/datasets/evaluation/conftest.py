"""Evaluation datasets on each database, and at a distance, beside the experiments ``1`` and ``2``."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mainspring.core.clock import ManualClock
from mainspring.core.errors import NotFound
from mainspring.datasets.evaluation.service import EvaluationDatasets
from mainspring.storage.sql.database import Database


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def known_experiment(id: str) -> None:
    if id not in ("1", "2"):
        raise NotFound(f"No Experiment with id={id} exists")


@pytest.fixture
def datasets(
    database: Database, clock: ManualClock, reached: Callable[[EvaluationDatasets], EvaluationDatasets]
) -> EvaluationDatasets:
    return reached(EvaluationDatasets(database, known_experiment, clock))
