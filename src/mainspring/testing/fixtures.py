"""Fixtures for pytest: ``pytest_plugins = ["mainspring.testing.fixtures"]`` in a ``conftest.py``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mainspring.testing.platform import Server, server


@pytest.fixture(scope="session")
def mainspring_running() -> Iterator[Server]:
    """The platform of this test session, as the tests before left it."""
    with server() as running:
        yield running


@pytest.fixture
def mainspring_server(mainspring_running: Server) -> Server:
    """The platform of this test session, empty."""
    mainspring_running.reset()
    return mainspring_running
