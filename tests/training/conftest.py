"""A small platform for training: real services on real stores, and small tables of every kind."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from mainspring.datasets.service import Datasets
from mainspring.storage.objects.store import ObjectStore, open_objects
from mainspring.storage.objects.tree import get_tree
from mainspring.storage.sql.database import Database, open_database
from mainspring.storage.tables.store import open_tables
from mainspring.tracking.service import Tracking
from mainspring.training.model import TrainingResult
from mainspring.training.service import Training

START = datetime(2025, 1, 1, tzinfo=UTC)


def table(task: str = "binary", rows: int = 600, seed: int = 1) -> pl.DataFrame:
    """Numbers, categories, dates and booleans with missing values, and a target that follows from them."""
    rng = np.random.default_rng(seed)
    size, age = rng.normal(10, 3, rows), rng.integers(18, 90, rows)
    town = rng.choice(["Aachen", "Bremen", "Chemnitz", "Dresden"], rows, p=[0.5, 0.3, 0.15, 0.05])
    member = rng.random(rows) < 0.4
    joined = [START - timedelta(days=int(d), hours=int(h)) for d, h in rng.integers(0, 24, (rows, 2)) * [100, 1]]
    effect = {"Aachen": -1.0, "Bremen": 0.0, "Chemnitz": 2.0, "Dresden": 3.0}
    signal = size / 3 + [effect[name] for name in town] + member * 1.5 + rng.normal(0, 0.4, rows)
    level = np.quantile(signal, [1 / 3, 0.5, 2 / 3])
    target: Any = {
        "binary": np.where(signal > level[1], "yes", "no"),
        "multiclass": np.select([signal < level[0], signal < level[2]], ["low", "middle"], "high"),
        "regression": 1_000_000 + 250 * signal,
    }[task]
    frame = pl.DataFrame(
        {"size": size, "age": age, "town": town, "member": member, "joined": joined, "y": target}
    ).with_columns(at=pl.Series([START + timedelta(hours=hour) for hour in range(rows)]))
    for name in ("size", "town", "member", "joined"):
        lost = pl.Series(rng.random(rows) < 0.05)
        frame = frame.with_columns(pl.when(lost).then(None).otherwise(pl.col(name)).alias(name))
    return frame


class Platform:
    """The services that training stands on."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database, self.folder = database, folder
        self.objects: ObjectStore = open_objects(f"file://{folder / 'objects'}")
        self.datasets = Datasets(database, open_tables(f"file://{folder / 'tables'}"), self.objects)
        self.tracking = Tracking(database, self.objects)
        self.training = Training(database, self.datasets, self.tracking, self.objects, threads=1)

    def train(self, frame: pl.DataFrame, target: str = "y", name: str = "people", **options: Any) -> TrainingResult:
        """Import a table and train on it."""
        version = self.datasets.import_frame(name, frame, check=False)
        return self.training.train(version.ref, target, **{"trials": 3, **options})

    def folder_of(self, result: TrainingResult) -> Path:
        """Give the files of a trained model."""
        folder = self.folder / f"model-{result.digest[-12:]}"
        if not folder.exists():
            get_tree(self.objects, result.digest, folder)
        return folder


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    """Services on a new SQLite database; the SQL of training is small, and is also tested on PostgreSQL."""
    database = open_database(f"sqlite:///{tmp_path / 'mainspring.db'}")
    database.create_all()
    yield Platform(database, tmp_path)
    database.close()
