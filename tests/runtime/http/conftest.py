"""Servers of one test, ended with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.runtime.http.wire import Running


@pytest.fixture
def start() -> Iterator[Callable[..., Running]]:
    """Start a server: handler, limits and what else `serve` takes."""
    running: list[Running] = []

    def begin(*arguments: object, **options: object) -> Running:
        running.append(Running(*arguments, **options))  # type: ignore[arg-type]
        return running[-1]

    yield begin
    for one in running:
        one.close()
