"""Folders of artifacts on each database: of a run, of a logged model, of nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainspring.storage.objects.store import open_objects
from mainspring.storage.sql.database import Database
from mainspring.tracking.files.places import FREE, Place
from mainspring.tracking.service import Tracking


@pytest.fixture
def tracking(database: Database, tmp_path: Path) -> Tracking:
    return Tracking(database, open_objects(f"file://{tmp_path / 'objects'}"))


@pytest.fixture(params=["run", "model", "free"])
def folder(request: pytest.FixtureRequest, tracking: Tracking) -> Place:
    if request.param == "run":
        return Place("run", tracking.create_run("files").id)
    return FREE if request.param == "free" else Place("model", "m-1")
