"""The worker plane runs jobs in a process that stops when it is told to, and that may be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mainspring.core.errors import BY_CODE
from mainspring.pipelines.context import StepContext
from mainspring.pipelines.model import Pipeline, Step
from mainspring.pipelines.service import Pipelines
from mainspring.planes.schema import migrate
from mainspring.storage.sql.database import open_database
from tests.pipelines.conftest import eventually, lives, notes

ROOT = Path(__file__).parents[2]
Start = Callable[[str], subprocess.Popen[str]]


def track(context: StepContext) -> str:
    """A step that uses the platform of its worker: every attempt gets the same run."""
    run = context.platform.tracking.create_run("from-a-job", token=context.token("run"))
    context.platform.tracking.finish_run(run.id)
    return str(run.id)


def step(name: str, function: str, **more: Any) -> Step:
    return Step(name=name, function=function, backoff_s=0.0, **more)


def stopped(worker: subprocess.Popen[str]) -> int:
    """The exit status after SIGTERM; a worker that does not stop shows where it is."""
    worker.send_signal(signal.SIGTERM)
    try:
        return worker.wait(20)
    except subprocess.TimeoutExpired:
        worker.send_signal(signal.SIGABRT)
        return worker.wait(20)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def pipelines(database_url: str, home: Path) -> Iterator[Pipelines]:
    database = open_database(database_url)
    migrate(database)
    yield Pipelines(database)
    database.close()


@pytest.fixture
def start(database_url: str, home: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []
    variables = {"MAINSPRING_DATABASE_URL": database_url, "MAINSPRING_LEASE_S": "60", "MAINSPRING_DRAIN_TIMEOUT_S": "0"}

    def begin(id: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-X", "faulthandler", "-m", "mainspring.planes.worker"]
        command += ["--home", str(home), "--id", id]
        started.append(subprocess.Popen(command, cwd=ROOT, env={**os.environ, **variables}, text=True))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()


def test_steps_use_the_platform_of_the_home(pipelines: Pipelines, start: Start, home: Path) -> None:
    job = pipelines.start(Pipeline("p", [step("track", "tests.planes.test_worker:track")]))
    worker = start("w1")
    eventually(lambda: pipelines.get(job.id).status != "running", within_s=60)
    found = pipelines.get(job.id)
    assert (found.status, found.error) == ("done", None)
    assert found.step("track").result
    assert stopped(worker) == 0


def test_a_stopped_worker_gives_its_step_back_at_once(pipelines: Pipelines, start: Start, tmp_path: Path) -> None:
    waiting = step("wait", "tests.pipelines.pipeline_steps:wait_for_file")
    job = pipelines.start(Pipeline("p", [waiting]), {"folder": str(tmp_path)})
    worker = start("w1")
    eventually(lambda: notes(tmp_path), within_s=60)
    assert stopped(worker) == 0
    assert pipelines.get(job.id).step("wait").state == "pending"
    assert not lives(int(notes(tmp_path)[0].split()[1]))


def test_a_killed_worker_that_is_started_again_goes_on_at_once(
    pipelines: Pipelines, start: Start, tmp_path: Path
) -> None:
    steps = [
        step("work", "tests.pipelines.pipeline_steps:work"),
        step("wait", "tests.pipelines.pipeline_steps:wait_for_file", needs=["work"]),
    ]
    job = pipelines.start(Pipeline("p", steps), {"folder": str(tmp_path)})
    worker = start("w1")
    eventually(lambda: any("waiting" in line for line in notes(tmp_path)), within_s=60)
    child = int(notes(tmp_path)[-1].split()[1])
    worker.kill()
    eventually(lambda: not lives(child))
    (tmp_path / "go").touch()
    start("w1")  # The lease would last for a minute.
    eventually(lambda: pipelines.get(job.id).status == "done")
    assert [s.attempt for s in pipelines.get(job.id).steps] == [1, 2]


def test_a_worker_that_cannot_start_says_why_on_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mainspring.planes.worker", "--home", str(tmp_path)]
    variables = {**os.environ, "MAINSPRING_DATABASE_URL": "mysql://somewhere/x"}
    failed = subprocess.run(command, env=variables, capture_output=True, text=True, cwd=ROOT)
    assert failed.returncode == 1
    (line,) = failed.stderr.splitlines()
    told = msgspec.json.decode(line)
    assert (told["plane"], told["level"]) == ("worker", "error")
    assert told["code"] in BY_CODE
    assert "mysql" in told["event"]
