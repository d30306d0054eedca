"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mainspring.storage.sql.database import Database, open_database

pytest_plugins = ["tests.servers"]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, on each engine that Mainspring supports."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'mainspring.db'}"
    return str(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with the tables of the rooms that the test imports."""
    opened = open_database(database_url)
    opened.create_all()
    yield opened
    opened.close()
