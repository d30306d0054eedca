"""Tracking on each database, and at a distance; artifacts in a local object store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from mainspring.client.remote import remote
from mainspring.core.clock import ManualClock
from mainspring.protocols.native.app import application
from mainspring.protocols.native.routes import Threads
from mainspring.storage.objects.store import open_objects
from mainspring.storage.sql.database import Database
from mainspring.tracking.service import Tracking


@pytest.fixture(params=["sqlite", "postgresql", "remote"])
def where(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def database_url(where: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if where == "postgresql":
        return str(request.getfixturevalue("postgresql_url"))
    return f"sqlite:///{tmp_path / 'mainspring.db'}"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def tracking(where: str, database: Database, tmp_path: Path, clock: ManualClock) -> Iterator[Tracking]:
    near = Tracking(database, open_objects(f"file://{tmp_path / 'objects'}"), clock)
    if where != "remote":
        yield near
        return
    threads = Threads(8)
    app = application([near], threads, max_body_bytes=16 << 20)
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        far = remote(Tracking, client)
        far.database, far.objects = near.database, near.objects
        yield far
    threads.close()
