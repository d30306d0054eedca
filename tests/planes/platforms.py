"""The whole platform as a session: in this process on each database, and remote through a real control plane."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import msgspec
import pytest

from mainspring.client.session import Session, connect
from mainspring.core.settings import Settings
from mainspring.pipelines.leases import Leases
from mainspring.pipelines.worker import Worker, WorkerOptions
from mainspring.planes.embedded import open_platform
from mainspring.planes.up import environment
from mainspring.runtime.snapshots import Watcher
from mainspring.serving.model import ServingState, decode_state
from mainspring.storage.sql.database import open_database
from tests.holds.running import eventually
from tests.servers import free_port


class Opened:
    """A session, and what lies below it: the settings that other processes of this platform are given."""

    def __init__(self, session: Session, settings: Settings) -> None:
        self.session, self.settings = session, settings

    @property
    def home(self) -> Path:
        """The home folder."""
        return Path(self.settings.home)

    def run_jobs(self) -> None:
        """Run what pipelines wait for, as a job worker does it: each step in a child process."""
        database = open_database(self.settings.database_url or f"sqlite:///{self.home / 'mainspring.db'}")
        options = WorkerOptions(platform="mainspring.planes.worker:open_home", home=str(self.home))
        worker = Worker(Leases(database), "here", options)
        try:
            worker.run_until_idle()
        finally:
            worker.close()
            database.close()

    def served(self) -> ServingState:
        """What is published for the data plane."""
        snapshot = Watcher(self.home / "snapshots").current()
        return ServingState() if snapshot is None else decode_state(snapshot.payload)


@contextmanager
def opened_here(settings: Settings) -> Iterator[Opened]:
    """The platform in this process."""
    with open_platform(settings) as session:
        yield Opened(session, settings)


@contextmanager
def opened_remote(settings: Settings) -> Iterator[Opened]:
    """The platform behind a control plane in a process of its own."""
    settings = msgspec.structs.replace(settings, port=free_port())
    command = [sys.executable, "-m", "mainspring.planes.control"]
    control = subprocess.Popen(
        command, env={**os.environ, **environment(settings)}, stderr=subprocess.PIPE, start_new_session=True
    )
    url = f"http://127.0.0.1:{settings.port}"
    try:
        eventually(lambda: control.poll() is not None or _answers(f"{url}/health"), "no control plane")
        with connect(url) as session:
            yield Opened(session, settings)
    finally:
        control.send_signal(signal.SIGTERM)
        _, said = control.communicate(timeout=30)
    assert control.returncode == 0, said.decode()


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url).status_code == 200
    except httpx2.TransportError:
        return False


@pytest.fixture(params=["embedded-sqlite", "embedded-postgresql", "remote"])
def opened(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """An empty platform; what is true of one is true of all."""
    url = request.getfixturevalue("postgresql_url") if request.param == "embedded-postgresql" else ""
    settings = Settings(home=str(tmp_path / "home"), database_url=url, policy_interval_s=0)
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    with (opened_remote if request.param == "remote" else opened_here)(settings) as made:
        yield made
