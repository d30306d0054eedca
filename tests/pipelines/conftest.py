"""Pipelines on each database, a worker in this process, and workers in processes that can be killed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from mainspring.pipelines.leases import Leases
from mainspring.pipelines.service import Pipelines
from mainspring.pipelines.worker import Worker, WorkerOptions
from mainspring.storage.sql.database import Database

HERE = Path(__file__).parent
STEPS = str(HERE)
LEASE_S = 1.0


@pytest.fixture
def pipelines(database: Database) -> Pipelines:
    return Pipelines(database)


@pytest.fixture
def leases(database: Database) -> Leases:
    return Leases(database, lease_s=LEASE_S)


@pytest.fixture
def worker(leases: Leases, tmp_path: Path) -> Iterator[Worker]:
    options = WorkerOptions(platform="pipeline_steps:open_platform", home=str(tmp_path), import_paths=[STEPS])
    worker = Worker(leases, "w1", options)
    yield worker
    worker.close()


class WorkerProcess:
    """A worker in a process of its own."""

    def __init__(self, url: str, name: str, lease_s: float = LEASE_S) -> None:
        command = [sys.executable, str(HERE / "worker_process.py"), url, name, str(lease_s), STEPS]
        self.process = subprocess.Popen(command)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def start_worker(database_url: str) -> Iterator[Callable[[str], WorkerProcess]]:
    started: list[WorkerProcess] = []

    def start(name: str, lease_s: float = LEASE_S) -> WorkerProcess:
        started.append(WorkerProcess(database_url, name, lease_s))
        return started[-1]

    yield start
    for process in started:
        process.kill()


def eventually(condition: Callable[[], object], within_s: float = 30.0) -> None:
    """Wait until something is so; fail when it is not in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.01)


def notes(folder: Path) -> list[str]:
    file = folder / "notes"
    return file.read_text().splitlines() if file.exists() else []


def lives(pid: int) -> bool:
    """Whether a process runs; one that ended and was not reaped yet does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
