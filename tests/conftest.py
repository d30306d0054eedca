"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import pytest
from starlette.testclient import TestClient

from mainspring.client.remote import remote
from mainspring.protocols.native.app import application
from mainspring.runtime.threads import Threads
from mainspring.storage.sql.database import Database, open_database

pytest_plugins = ["tests.servers"]

S = TypeVar("S")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what needs a database on each engine, and what reaches a service also at a distance."""
    if "place" in metafunc.fixturenames:
        distance = ["remote"] if "reached" in metafunc.fixturenames else []
        metafunc.parametrize("place", ["sqlite", "postgresql", *distance], indirect=True)


@pytest.fixture
def place(request: pytest.FixtureRequest) -> str:
    """Where a service runs: ``sqlite`` or ``postgresql`` in this process, or ``remote``."""
    return str(request.param)


@pytest.fixture
def database_url(place: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, on each engine that Mainspring supports; a remote service has SQLite."""
    if place == "postgresql":
        return str(request.getfixturevalue("postgresql_url"))
    return f"sqlite:///{tmp_path / 'mainspring.db'}"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with the tables of the rooms that the test imports."""
    opened = open_database(database_url)
    opened.create_all()
    yield opened
    opened.close()


@pytest.fixture
def reached(place: str) -> Iterator[Callable[[S], S]]:
    """Give a service as it is, or, where that is remote, behind the HTTP API of a control plane.

    Only its operations are called at a distance; what a test looks into beside them is that of the service itself.
    """
    with ExitStack() as stack:

        def reach(service: S) -> S:
            if place != "remote":
                return service
            threads = Threads(8)
            stack.callback(threads.close)
            app = application([service], threads, max_body_bytes=16 << 20)
            client = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
            far = remote(type(service), stack.enter_context(client))
            type(far).__getattr__ = lambda self, name: getattr(service, name)  # type: ignore[attr-defined]
            type(far).__setattr__ = lambda self, name, value: setattr(service, name, value)  # type: ignore[assignment]
            return far

        yield reach
