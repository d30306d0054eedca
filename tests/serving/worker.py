"""A real data worker in a process of its own, for tests that speak to it over HTTP."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from mainspring.predictions.model import Fact, LabelFact, PredictionBatch, decode_fact
from mainspring.runtime.snapshots import Publisher
from mainspring.runtime.spool import SpoolReader
from mainspring.serving.model import ServingState, encode_state


class Worker:
    """Starts a data worker on a home, publishes states to it, and reads its spool."""

    def __init__(self, home: Path, name: str = "data-0") -> None:
        self.home, self.name = home, name
        self._publisher = Publisher(home / "snapshots")
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def publish(self, state: ServingState, *, wait: bool = True) -> int:
        """Publish a state, and wait until the worker serves it."""
        version = self._publisher.publish(encode_state(state))
        if self._process is not None and wait:
            assert self._publisher.wait_applied(version, 20.0), self.get("/health").text
        return version

    def start(self, *more: str) -> Worker:
        """Start it and wait until it is ready."""
        command = [sys.executable, "-m", "mainspring.planes.data", "--home", str(self.home), "--worker", self.name]
        environment = {**os.environ, "MAINSPRING_TEST_SECRET": "not for models"}
        self._process = subprocess.Popen([*command, *more], stdout=subprocess.PIPE, text=True, env=environment)
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], 30.0)
        line = self._process.stdout.readline() if ready else ""
        assert line, f"the worker did not start; exit status {self._process.poll()}"
        self.port = json.loads(line)["port"]
        return self

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._end(subprocess.Popen.kill)

    def stop(self) -> int:
        """Ask it to drain; gives its exit status."""
        return self._end(subprocess.Popen.terminate)

    def _end(self, how: Callable[[subprocess.Popen[str]], None]) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        how(process)
        status = process.wait(30)
        assert process.stdout is not None
        process.stdout.close()
        return status

    def get(self, path: str, **more: Any) -> httpx2.Response:
        """GET a path."""
        return httpx2.get(self.url + path, timeout=20, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> httpx2.Response:
        """POST JSON to a path."""
        return httpx2.post(self.url + path, json=body, timeout=20, **more)

    def facts(self) -> list[Fact]:
        """Everything in the spool, oldest first."""
        return [decode_fact(record) for batch in SpoolReader(self.home / "spool").batches() for record in batch.records]

    def predictions(self) -> list[PredictionBatch]:
        """The logged predictions."""
        return [fact for fact in self.facts() if isinstance(fact, PredictionBatch)]

    def labels(self) -> list[LabelFact]:
        """The labels that were accepted."""
        return [fact for fact in self.facts() if isinstance(fact, LabelFact)]


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    """A worker that is not started yet."""
    made = Worker(tmp_path / "home")
    yield made
    made.kill()


def until(true: Callable[[], object], told: str, *, seconds: float = 15.0) -> None:
    """Wait until something is true, or fail."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, told
        time.sleep(0.01)
