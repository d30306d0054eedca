"""Whoever has MLflow's sources runs its tests against a Mainspring: they meet one server, empty for each test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

UTILITIES = """
def _init_server(*args, **kwargs):
    raise RuntimeError("would start a server of MLflow's")


class ServerThread:
    def __init__(self, app, port):
        raise RuntimeError("would start a server of MLflow's")
"""
SERVED = """
import mlflow, pytest
from mlflow import MlflowClient
from tests.tracking.integration_test_utils import ServerThread, _init_server

@pytest.fixture(params=["file", "sqlalchemy"])
def client(request, tmp_path):
    with _init_server(backend_uri=request.param, root_artifact_uri=tmp_path.as_uri()) as url:
        yield MlflowClient(url)

@pytest.mark.parametrize("again", [1, 2])
def test_each_test_finds_it_empty(client, again):
    client.create_experiment("the same name")
    assert len(client.search_experiments()) == 2

def test_thread():
    with ServerThread(None, 1) as url:
        assert MlflowClient(url).search_registered_models() == []

def test_fluent(tmp_path, monkeypatch):
    mlflow.set_experiment("fluent")
    with mlflow.start_run():
        mlflow.log_metric("m", 1.5)
    assert mlflow.search_runs(output_format="list")[0].data.metrics == {"m": 1.5}

def test_what_is_wrong_is_counted(client):
    assert client.search_experiments() == [], "there is always the default one"
"""
STORED = """
import pytest

@pytest.fixture
def store(tmp_path):
    raise RuntimeError("would open a database")

def test_by_its_verbs(store):
    assert store.get_experiment(store.create_experiment("e")).name == "e"

def test_by_its_inside(store):
    with store.ManagedSessionMaker():
        pass
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_tests_of_a_checkout_meet_the_server_and_are_counted(tmp_path: Path) -> None:
    """Starts a platform, and a pytest of its own."""
    for name, text in {
        "tests/__init__.py": "",
        "tests/tracking/__init__.py": "",
        "tests/tracking/integration_test_utils.py": UTILITIES,
        "tests/tracking/test_rest_tracking.py": SERVED,
        "tests/store/tracking/test_sqlalchemy_store.py": STORED,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "bench.conformance", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    counted = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line[:5] in ("tests", "all  ")}
    assert counted["tests/tracking/test_rest_tracking.py"] == ["4", "1", "0", "0"], done.stdout
    assert counted["tests/store/tracking/test_sqlalchemy_store.py"] == ["1", "0", "0", "1"], done.stdout
    assert counted["all"] == ["5", "1", "0", "1"]
    assert "test_what_is_wrong_is_counted[sqlalchemy]" in done.stdout


def test_a_folder_without_tests_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.conformance", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "has no tests of MLflow" in done.stderr
