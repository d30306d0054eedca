"""A control plane in a process of its own, on each database, for MLflow's own client."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx2
import mlflow
import pytest
from mlflow.tracking import fluent

from mainspring.core.settings import Settings
from mainspring.planes.up import environment
from tests.holds.running import eventually
from tests.servers import free_port

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")


@pytest.fixture(autouse=True)
def nothing_is_left_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What MLflow's client keeps for the whole process: where it logs to, and the experiment that was set last."""
    before = mlflow.get_tracking_uri()
    monkeypatch.setattr(fluent, "_active_experiment_id", None)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID", raising=False)
    yield
    mlflow.set_tracking_uri(before)
    # The client sets it itself, for its children.
    os.environ.pop("MLFLOW_EXPERIMENT_ID", None)


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def tracking_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a control plane that all tests share: each names experiments and models of its own."""
    home = tmp_path_factory.mktemp("home")
    postgresql = request.getfixturevalue("postgresql") if request.param == "postgresql" else None
    database = postgresql.create() if postgresql else ""
    url = postgresql.url(database) if postgresql else ""
    settings = Settings(
        home=str(home), database_url=url, policy_interval_s=0, port=free_port(), webhook_private_targets=True
    )
    said = home / "said.txt"
    with said.open("wb") as stderr:
        control = subprocess.Popen(
            [sys.executable, "-m", "mainspring.planes.control"],
            env={**os.environ, **environment(settings)},
            stderr=stderr,
            start_new_session=True,
        )
    try:
        reached = f"http://127.0.0.1:{settings.port}"
        eventually(lambda: control.poll() is not None or _answers(f"{reached}/health"), "no control plane")
        yield reached
    finally:
        control.send_signal(signal.SIGTERM)
        control.wait(30)
        if postgresql:
            postgresql.drop(database)
    assert control.returncode == 0, said.read_text()


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url).status_code == 200
    except httpx2.TransportError:
        return False


@pytest.fixture
def traced_experiment(tracking_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The id of an experiment that only this test traces into, which is the active one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")
    mlflow.set_tracking_uri(tracking_url)
    mlflow.tracing.reset()
    yield str(mlflow.set_experiment(f"traces of {uuid.uuid4()}").experiment_id)
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.tracing.reset()
    mlflow.set_tracking_uri(None)
