"""Databases with many runs, written in bulk: what a team has after a year is not logged in a minute.

Both sides hold the same experiments: runs with five metrics, five params and four tags, and a run with a long history
and many artifacts.
"""

from __future__ import annotations

import random
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection

from mainspring.core.ids import new_id
from mainspring.core.settings import Settings
from mainspring.planes.embedded import Platform
from mainspring.tracking.metrics.store import sortable

METRICS = ("auc", "f1", "loss", "precision", "recall")
PARAMS = ("batch_size", "depth", "learning_rate", "optimizer", "seed")
HISTORY_KEY, FOLDER = "loss", "images"
BEGAN_MS = 1_780_000_000_000
PICTURE = b"one picture"
_AT_ONCE = 5_000


class Sizes(msgspec.Struct, frozen=True):
    """How many runs each experiment has, by its name, and how long the history and the list of artifacts are."""

    runs: dict[str, int]
    points: int
    artifacts: int


class Seeded(msgspec.Struct, frozen=True):
    """Where it is: ids of experiments by name, and the run with the history and the artifacts."""

    experiments: dict[str, str]
    run: str


class Row(msgspec.Struct, frozen=True):
    """A run as both sides have it."""

    id: str
    name: str
    began_ms: int
    metrics: Sequence[float]
    params: Sequence[str]
    tags: Sequence[tuple[str, str]]


def rows(number: int, ids: Iterator[str] | None = None, metrics: Sequence[str] = METRICS) -> Iterator[Row]:
    """Give the runs of an experiment, the same every time but for their *ids*, which are ours where none are given."""
    ids, chance = ids or _own_ids(), random.Random(number)
    for place in range(number):
        name = f"run-{place}"
        tags = (
            ("mlflow.runName", name),
            ("mlflow.source.name", "train.py"),
            ("mlflow.source.type", "LOCAL"),
            ("mlflow.user", "ada"),
        )
        params = [str(chance.randrange(100)) for _ in PARAMS]
        yield Row(next(ids), name, BEGAN_MS + 1000 * place, [chance.random() for _ in metrics], params, tags)


def _history(points: int) -> Iterator[tuple[int, int, float]]:
    chance = random.Random(points)
    for step in range(points):
        yield step, BEGAN_MS + 100 * step, 1 / (1 + step) + 0.01 * chance.random()


def seed_ours(home: Path, sizes: Sizes) -> Seeded:
    """Make a home with all this."""
    with Platform(Settings(home=str(home))) as platform:
        assert isinstance(platform, Platform)
        tracking = platform.tracking
        ids = {name: tracking.create_experiment(name).id for name in sizes.runs}
        run = tracking.create_run(experiment=next(iter(ids)), name="long").id
        digest = platform.objects.put_bytes(PICTURE)
        with platform.database.begin() as connection:
            for name, number in sizes.runs.items():
                _insert_ours(connection, ids[name], rows(number), METRICS)
            _insert_history(connection, run, sizes.points)
            _insert(connection, "run_artifacts", ("run", "path", "digest", "size"), [
                (run, path, digest, len(PICTURE)) for path in _paths(sizes.artifacts)
            ])  # fmt: skip
    return Seeded(ids, run)


def seed_large(home: Path, runs: int, metrics: Sequence[str]) -> str:
    """Make a home with one experiment of many runs; gives its id."""
    with Platform(Settings(home=str(home))) as platform:
        assert isinstance(platform, Platform)
        experiment = platform.tracking.create_experiment("large").id
        with platform.database.begin() as connection:
            _insert_ours(connection, experiment, rows(runs, metrics=metrics), metrics)
    return experiment


def _own_ids() -> Iterator[str]:
    while True:
        yield new_id()


def _paths(number: int) -> Iterator[str]:
    return (f"{FOLDER}/{place:06}.png" for place in range(number))


def _insert_ours(connection: Connection, experiment: str, rows: Iterator[Row], metrics: Sequence[str]) -> None:
    last = connection.exec_driver_sql("SELECT max(id) FROM metric_series").scalar()
    numbers = count((last or 0) + 1)
    while part := list(islice(rows, _AT_ONCE)):
        columns = ("id", "experiment", "name", "status", "started", "ended", "dirty", "user")
        _insert(connection, "runs", columns, [
            (row.id, experiment, row.name, "finished", row.began_ms * 1000, (row.began_ms + 60_000) * 1000, 0, "ada")
            for row in part
        ])  # fmt: skip
        texts = ("run", "key", "value")
        _insert(connection, "run_tags", texts, [(row.id, *tag) for row in part for tag in row.tags])
        _insert(connection, "run_params", texts, [
            (row.id, *pair) for row in part for pair in zip(PARAMS, row.params, strict=True)
        ])  # fmt: skip
        series = [
            (next(numbers), row.id, key, 0, row.began_ms * 1000, sortable(value))
            for row in part
            for key, value in zip(metrics, row.metrics, strict=True)
        ]
        _insert(connection, "metric_series", ("id", "run", "key", "step", "at_us", "value"), series)
        points = [(number, step, at_us, value) for number, _, _, step, at_us, value in series]
        _insert(connection, "metric_points", ("series", "step", "at_us", "value"), points)


def _insert_history(connection: Connection, run: str, points: int) -> None:
    history = [(step, at_ms * 1000, sortable(value)) for step, at_ms, value in _history(points)]
    number = connection.exec_driver_sql("SELECT coalesce(max(id), 0) + 1 FROM metric_series").scalar_one()
    latest = (number, run, HISTORY_KEY, *history[-1])
    _insert(connection, "metric_series", ("id", "run", "key", "step", "at_us", "value"), [latest])
    _insert(connection, "metric_points", ("series", "step", "at_us", "value"), [(number, *point) for point in history])


def _insert(
    connection: Connection | sqlite3.Connection, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    named = ", ".join(f'"{column}"' for column in columns)
    statement = f'INSERT INTO "{table}" ({named}) VALUES ({", ".join("?" * len(columns))})'  # noqa: S608
    if not rows:
        return
    if isinstance(connection, sqlite3.Connection):
        connection.executemany(statement, rows)
    else:
        connection.exec_driver_sql(statement, list(rows))


def seed_peer(folder: Path, sizes: Sizes) -> Seeded:
    """Fill the database that MLflow's server made in *folder*, and its folder of artifacts."""
    with sqlite3.connect(folder / "mlflow.db", timeout=60) as connection:
        ids, run = {}, uuid.uuid4().hex
        for name, number in sizes.runs.items():
            ids[name] = str(connection.execute("SELECT max(experiment_id) + 1 FROM experiments").fetchone()[0])
            _insert(connection, "experiments", ("experiment_id", "name", "artifact_location", "lifecycle_stage",
                                                "creation_time", "last_update_time"), [
                (ids[name], name, f"mlflow-artifacts:/{ids[name]}", "active", BEGAN_MS, BEGAN_MS)
            ])  # fmt: skip
            _insert_peer(connection, ids[name], rows(number, iter(lambda: uuid.uuid4().hex, "")))
        first = next(iter(ids.values()))
        _insert_peer(connection, first, iter([Row(run, "long", BEGAN_MS, [], [], [("mlflow.runName", "long")])]))
        history = list(_history(sizes.points))
        columns = ("key", "value", "timestamp", "run_uuid", "step", "is_nan")
        logged = [(HISTORY_KEY, value, at_ms, run, step, False) for step, at_ms, value in history]
        _insert(connection, "metrics", columns, logged)
        _insert(connection, "latest_metrics", columns, logged[-1:])
    connection.close()
    kept = folder / "artifacts" / first / run / "artifacts"
    (kept / FOLDER).mkdir(parents=True)
    for path in _paths(sizes.artifacts):
        (kept / path).write_bytes(PICTURE)
    return Seeded(ids, run)


def _insert_peer(connection: sqlite3.Connection, experiment: str, rows: Iterator[Row]) -> None:
    while part := list(islice(rows, _AT_ONCE)):
        columns = ["run_uuid", "name", "source_type", "source_name", "entry_point_name", "user_id", "status"]
        columns += ["start_time", "end_time", "source_version", "lifecycle_stage", "artifact_uri", "experiment_id"]
        _insert(connection, "runs", columns, [
            (row.id, row.name, "UNKNOWN", "", "", "ada", "FINISHED", row.began_ms, row.began_ms + 60_000, "", "active",
             f"mlflow-artifacts:/{experiment}/{row.id}/artifacts", experiment)
            for row in part
        ])  # fmt: skip
        texts = ("run_uuid", "key", "value")
        _insert(connection, "tags", texts, [(row.id, *tag) for row in part for tag in row.tags])
        _insert(connection, "params", texts, [
            (row.id, *pair) for row in part for pair in zip(PARAMS, row.params, strict=False)
        ])  # fmt: skip
        metrics = [
            (key, value, row.began_ms, row.id, 0, False)
            for row in part for key, value in zip(METRICS, row.metrics, strict=False)
        ]  # fmt: skip
        for table in ("metrics", "latest_metrics"):
            _insert(connection, table, ("key", "value", "timestamp", "run_uuid", "step", "is_nan"), metrics)
