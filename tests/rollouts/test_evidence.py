"""The arms are counted from the prediction log: requests, errors, slow ones, units, losses of labelled rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from mainspring.predictions.log import PredictionLog
from mainspring.predictions.model import LabelFact, PredictionBatch, PredictionItem
from mainspring.predictions.rows import label_frame, log_frame
from mainspring.registry.signature import Field, ModelInfo, Signature, Task
from mainspring.rollouts.evidence import ArmEvidence
from mainspring.rollouts.model import Asked, Reading
from mainspring.rollouts.sequential import Clusters, Sample, design_effect
from mainspring.storage.sql.database import Database, open_database
from mainspring.storage.tables.store import TableStore, open_tables

START = datetime(2026, 3, 1, tzinfo=UTC)


class Log:
    """A prediction log with what the test writes, and models of one task."""

    def __init__(self, tables: TableStore, database: Database, spool: Path) -> None:
        self.tables = tables
        self.predictions = PredictionLog(tables, database, spool)
        self.number = 0
        self.info = self.model_of("binary", "accuracy", ["no", "yes"])

    def model_of(self, task: Task | None, metric: str | None, classes: list[str | int] | None) -> ModelInfo:
        signature = Signature(inputs=[Field("age", "double")], outputs=[])
        return ModelInfo(signature=signature, task=task, metric=metric, classes=classes)

    def resolve(self, model: str) -> SimpleNamespace:
        return SimpleNamespace(info=self.info)

    def answer(
        self,
        arm: str,
        outputs: dict[str, list[object]],
        *,
        unit: str | None = None,
        status: int = 200,
        latency_us: int = 1000,
        seconds: float = 1,
    ) -> str:
        """Log one request, answered *seconds* after the start, and give its id."""
        self.number += 1
        rows = max([1, *(len(values) for values in outputs.values())])
        at_us = int((START + timedelta(seconds=seconds)).timestamp() * 1_000_000)
        item = PredictionItem(
            f"{self.number:026d}",
            at_us,
            unit,
            None,
            latency_us,
            status,
            rows,
            [[1.0] * rows],
            [] if status >= 400 else list(outputs.values()),
        )
        release = {"stable": "release:churn@1", "canary": "release:churn@2", "other": "release:churn@9"}[arm]
        batch = PredictionBatch("churn", "model:churn@1", release, arm, ["age"], list(outputs), [item])
        self.tables.append("log/churn", log_frame([batch], self.number))
        return item.id

    def label(self, id: str, value: str | float) -> None:
        self.tables.append("labels/churn", label_frame([LabelFact("churn", id, value, 0)], self.number))

    def read(self, slow_us: int | None = None, step: float = 0) -> Reading:
        asked = Asked(
            stable="release:churn@1",
            canary="release:churn@2",
            since=START,
            step_since=START + timedelta(seconds=step),
            slow_us=slow_us,
            quantile=0.5,
        )
        return ArmEvidence(self.predictions, self).read("churn", asked)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    database = open_database(f"sqlite:///{tmp_path / 'mainspring.db'}")
    database.create_all()
    return Log(open_tables((tmp_path / "tables").as_uri()), database, tmp_path / "spool")


def test_an_empty_log_has_two_empty_arms(log: Log) -> None:
    reading = log.read(slow_us=5)
    assert reading.stable == reading.canary
    assert (reading.canary.requests, reading.canary.latency_us, reading.canary.losses) == (0, None, Sample())


def test_a_request_of_many_rows_counts_once_and_other_releases_do_not_count(log: Log) -> None:
    log.answer("stable", {"label": ["no", "yes", "no"]})
    log.answer("canary", {"label": ["no"]})
    log.answer("other", {"label": ["no"]})
    log.answer("canary", {"label": ["no"]}, seconds=-5)
    assert (log.read().stable.requests, log.read().canary.requests) == (1, 1)


def test_refusals_and_failures_are_errors_and_too_many_requests_are_not(log: Log) -> None:
    for status in (200, 400, 422, 429, 500, 503):
        log.answer("canary", {"label": ["no"]}, status=status)
    assert (log.read().canary.requests, log.read().canary.errors) == (6, 4)


def test_requests_are_slow_from_the_latency_asked_about(log: Log) -> None:
    for latency_us in (1_000, 2_000, 9_000):
        log.answer("stable", {"label": ["no"]}, latency_us=latency_us)
    assert log.read().stable.slow == 0
    assert log.read(slow_us=2_000).stable.slow == 1
    assert log.read().stable.latency_us == 2_000


def test_a_unit_counts_once_in_a_step_and_a_request_without_one_each_time(log: Log) -> None:
    for unit, seconds in (("ada", 1), ("ada", 11), ("ada", 12), ("bob", 13), (None, 14), (None, 15), (None, 2)):
        log.answer("canary", {"label": ["no"]}, unit=unit, seconds=seconds)
    assert log.read(step=10).canary.assigned == 4
    assert log.read(step=0).canary.assigned == 5


def test_losses_are_those_of_the_rows_whose_label_has_come(log: Log) -> None:
    first = log.answer("stable", {"label": ["no", "yes"], "probabilities": [[0.9, 0.1], [0.2, 0.8]]})
    second = log.answer("canary", {"label": ["no"], "probabilities": [[0.6, 0.4]]})
    log.answer("canary", {"label": ["no"], "probabilities": [[0.6, 0.4]]})
    log.label(f"{first}.0", "no")
    log.label(f"{first}.1", "no")
    assert log.read().stable.losses == Sample()  # Nothing to compare it with yet.
    log.label(second, "yes")
    assert log.read().stable.losses == Sample(2, 1.0, 1.0)
    assert log.read().canary.losses == Sample(1, 1.0, 1.0)
    log.info = log.model_of("binary", "roc_auc", ["no", "yes"])
    assert log.read().canary.losses.total == pytest.approx(0.36)


def test_without_probabilities_a_metric_that_needs_them_falls_back_to_wrong_labels(log: Log) -> None:
    log.info = log.model_of("binary", "log_loss", ["no", "yes"])
    log.label(log.answer("stable", {"label": ["no"]}), "no")
    log.label(log.answer("canary", {"label": ["no"]}), "yes")
    assert (log.read().stable.losses.total, log.read().canary.losses.total) == (0.0, 1.0)


def test_losses_of_numbers_are_squares_and_labels_that_are_no_numbers_are_left_out(log: Log) -> None:
    log.info = log.model_of("regression", None, None)
    log.label(log.answer("stable", {"variable": [3.0]}), 1.0)
    for value in (5, "broken"):
        log.label(log.answer("canary", {"variable": [2.0]}), value)
    assert log.read().stable.losses == Sample(1, 4.0, 16.0)
    assert log.read().canary.losses == Sample(1, 9.0, 81.0)


def test_a_model_of_an_unknown_task_has_no_losses(log: Log) -> None:
    log.info = log.model_of(None, None, None)
    for arm in ("stable", "canary"):
        log.label(log.answer(arm, {"y": [3.0]}), 1.0)
    assert log.read().canary.losses == Sample()


def test_the_units_behind_the_counts_are_told_and_a_request_without_one_is_its_own(log: Log) -> None:
    for unit, status in (("ada", 200), ("ada", 500), ("bob", 200), (None, 200), (None, 500)):
        log.answer("canary", {"label": ["no"]}, unit=unit, status=status, latency_us=9_000 if unit == "bob" else 1)
    read = log.read(slow_us=1_000).canary.clusters
    assert read["errors"] == Clusters(units=4, means=1.5, sizes=7.0, crossed=3.0, totals=2.0)
    assert read["latency"] == Clusters(units=4, means=1.0, sizes=7.0, crossed=1.0, totals=1.0)


def test_the_labelled_rows_of_one_request_or_one_unit_belong_together(log: Log) -> None:
    request = log.answer("canary", {"label": ["no", "no"]})
    again = [log.answer(arm, {"label": ["no"]}, unit="ada") for arm in ("canary", "canary", "stable")]
    for row in (f"{request}.0", f"{request}.1", *again):
        log.label(row, "yes")
    assert log.read().canary.clusters["quality"] == Clusters(units=2, means=2.0, sizes=8.0, crossed=8.0, totals=8.0)


def test_without_a_unit_that_comes_again_the_design_effect_is_one(log: Log) -> None:
    for number in range(40):
        unit = None if number % 3 else f"user-{number}"
        log.answer(
            "canary" if number % 4 else "stable", {"label": ["no"]}, unit=unit, status=200 + 300 * (number % 5 < 1)
        )
    canary, stable = log.read().canary, log.read().stable
    arms = [(Sample.of_events(arm.errors, arm.requests), arm.clusters["errors"]) for arm in (canary, stable)]
    assert design_effect(*arms) == pytest.approx(1.0)
