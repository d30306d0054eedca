"""A run is started from the settings alone, goes where they say, and loses nothing however its process ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mainspring
from mainspring.core.errors import InvalidRequest
from mainspring.core.ids import new_id
from tests.client.control import Control
from tests.client.scripts import Script
from tests.holds.running import eventually

LOG = """
import mainspring
with mainspring.start_run("churn", "first", params={"depth": 3}) as run:
    for epoch in range(3):
        run.log({"loss": 1 / (epoch + 1), "epoch": epoch})
    run.log_artifact("notes/why.txt", "because")
    run.log_artifact("big.bin", bytes(400_000))
print(run.run)
"""
UNENDED = LOG.replace("with mainspring", "run = mainspring").replace(" as run:", "\nif run:")


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    """A control plane that runs."""
    made = Control(tmp_path_factory.mktemp("platform") / "home")
    made.start()
    yield made
    made.kill()


@pytest.fixture
def experiment() -> str:
    """A name that no other test has."""
    return f"e{new_id().lower()}"


def check(session: mainspring.client.session.Session, run: str) -> None:
    details = session.tracking.get_run(run)
    assert (details.run.name, details.run.status, details.params) == ("first", "finished", {"depth": "3"})
    assert session.tracking.metric_history(run, "loss").values == [1.0, 0.5, pytest.approx(1 / 3)]
    assert session.tracking.metric_history(run, "epoch").steps == [0, 1, 2]
    assert session.tracking.read_artifact(run, "notes/why.txt") == b"because"
    assert session.tracking.get_artifact(run, "big.bin").size == 400_000


@pytest.mark.parametrize("text", [LOG, UNENDED], ids=["ended", "at the end of the script"])
def test_without_a_server_a_run_is_logged_into_the_home(tmp_path: Path, text: str) -> None:
    (run,) = Script(tmp_path).run(text)
    with mainspring.open(str(tmp_path / ".mainspring")) as session:
        check(session, run)


@pytest.mark.parametrize("text", [LOG, UNENDED], ids=["ended", "at the end of the script"])
def test_a_run_goes_to_the_control_plane_that_the_settings_name(tmp_path: Path, control: Control, text: str) -> None:
    (run,) = Script(tmp_path, url=control.url, cache=tmp_path / "cache").run(text)
    with mainspring.connect(control.url) as session:
        check(session, run)


def test_offline_nothing_but_a_folder_is_needed_and_sync_sends_it_once(tmp_path: Path, control: Control) -> None:
    script = Script(tmp_path, mode="offline", offline=tmp_path / "kept")
    run, other = script.run(LOG)[0], script.run(UNENDED)[0]
    assert not (tmp_path / ".mainspring").exists()
    sync = [sys.executable, "-m", "mainspring", "--url", control.url, "sync", str(tmp_path / "kept")]
    for again in (["--keep"], ["--keep"], []):
        subprocess.run([*sync, *again], check=True, env=script.variables, stdout=subprocess.DEVNULL)
        with mainspring.connect(control.url) as session:
            check(session, run)
            check(session, other)
        assert bool([*(tmp_path / "kept").glob("*.*")]) == bool(again)


KILLED = """
import os, signal, sys, time
import mainspring
run = mainspring.start_run("churn", "first", params={"depth": 3})
for step in range(2000):
    run.log({"loss": float(step)})
run.log_artifact("big.bin", bytes(400_000))
run.flush(timeout_s=float(sys.argv[1]))
print(run.run, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_logged_offline_is_sent_and_its_run_ends_as_killed(tmp_path: Path) -> None:
    script = Script(tmp_path, mode="offline")
    (run,) = script.run(KILLED, "0", code=-signal.SIGKILL)
    subprocess.run([sys.executable, "-m", "mainspring", "sync"], check=True, env=script.variables, cwd=tmp_path)
    with mainspring.open(str(tmp_path / ".mainspring")) as session:
        assert session.tracking.metric_history(run, "loss").values == [float(step) for step in range(2000)]
        assert session.tracking.get_artifact(run, "big.bin").size == 400_000
        found = session.tracking.get_run(run).run
        assert found.status == "killed"
        assert found.ended is not None


def test_the_next_run_sends_what_a_killed_one_logged_during_an_outage(tmp_path: Path, control: Control) -> None:
    control.kill()
    script = Script(tmp_path, url=control.url, cache=tmp_path / "cache")
    (run,) = script.run(KILLED, "0", code=-signal.SIGKILL)
    control.start()
    script.run(LOG)
    with mainspring.connect(control.url) as session:
        assert session.tracking.metric_history(run, "loss").steps == list(range(2000))
        assert session.tracking.get_run(run).run.status == "killed"


TERMINATED = """
import time
import mainspring
run = mainspring.start_run("churn")
run.log({"loss": 1.0})
run.flush()
print(run.run, flush=True)
time.sleep(60)
"""


def test_sigterm_ends_the_run_as_killed(tmp_path: Path, control: Control) -> None:
    process = Script(tmp_path, url=control.url, cache=tmp_path / "cache").start(TERMINATED)
    assert process.stdout is not None
    run = process.stdout.readline().strip()
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    with mainspring.connect(control.url) as session:
        assert session.tracking.get_run(run).run.status == "killed"
        assert session.tracking.metric_history(run, "loss").values == [1.0]


RANK = """
import sys
import mainspring
rank = int(sys.argv[2])
with mainspring.start_run(sys.argv[1], run=sys.argv[1], primary=rank == 0, params={"lr": 0.1}) as run:
    for step in range(100):
        run.log({f"loss-{rank}": float(step)})
"""


def test_processes_that_share_a_run_log_to_one_and_the_primary_one_ends_it(
    tmp_path: Path, control: Control, experiment: str
) -> None:
    script = Script(tmp_path, url=control.url, cache=tmp_path / "cache")
    ranks = [script.start(RANK, experiment, str(rank)) for rank in (2, 1, 0)]
    for rank in ranks:
        rank.communicate(timeout=60)
    assert [rank.returncode for rank in ranks] == [0, 0, 0]
    with mainspring.connect(control.url) as session:

        def complete() -> bool:
            return [len(session.tracking.metric_history(experiment, f"loss-{n}").steps) for n in range(3)] == [100] * 3

        eventually(complete)
        details = session.tracking.get_run(experiment)
        assert (details.run.status, details.params) == ("finished", {"lr": "0.1"})
        assert len(session.tracking.search_runs([experiment]).runs) == 1


def test_a_run_that_ended_is_gone_on_with_by_its_id(tmp_path: Path, control: Control, experiment: str) -> None:
    script = Script(tmp_path, url=control.url, cache=tmp_path / "cache")
    for _ in range(2):
        script.run(RANK, experiment, "0")
    with mainspring.connect(control.url) as session:
        assert session.tracking.get_run(experiment).run.status == "finished"
        assert session.tracking.metric_history(experiment, "loss-0").steps == sorted([*range(100)] * 2)


FORKED = """
import multiprocessing, os
import mainspring

def work(run, number):
    for step in range(50):
        run.log({f"child-{number}": float(step)})

if __name__ == "__main__":
    with mainspring.start_run("churn") as run:
        run.log({"loss": 1.0})
        children = [multiprocessing.get_context("fork").Process(target=work, args=(run, n)) for n in range(3)]
        for child in children:
            child.start()
        for child in children:
            child.join()
        raw = os.fork()
        if raw == 0:
            run.log({"raw": 1.0})
            run.close()
            os._exit(0)
        os.waitpid(raw, 0)
        silent = os.fork()
        if silent == 0:
            os._exit(0)
        os.waitpid(silent, 0)
        run.log({"loss": 2.0})
    print(run.run)
"""


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_what_forks_log_arrives_once_and_only_the_parent_ends_the_run(tmp_path: Path, mode: str) -> None:
    script = Script(tmp_path, mode=mode)
    (run,) = script.run(FORKED)
    if mode == "offline":
        subprocess.run([sys.executable, "-m", "mainspring", "sync"], check=True, env=script.variables, cwd=tmp_path)
    with mainspring.open(str(tmp_path / ".mainspring")) as session:
        for number in range(3):
            assert session.tracking.metric_history(run, f"child-{number}").steps == list(range(1, 51))
        assert session.tracking.metric_history(run, "raw").values == [1.0]
        assert session.tracking.metric_history(run, "loss").values == [1.0, 2.0]
        assert session.tracking.get_run(run).run.status == "finished"


IMPORTED = "import sys, mainspring; print(*sorted(name for name in sys.modules if name.startswith('mainspring')))"


def test_importing_mainspring_imports_nothing_else_of_it(tmp_path: Path) -> None:
    assert Script(tmp_path).run(IMPORTED) == ["mainspring mainspring.version"]


STARTED = """
import sys, time
begin = time.process_time()
import mainspring
imported = time.process_time() - begin
run = mainspring.start_run("churn", mode="offline")
print(imported, *[name for name in ("sqlalchemy", "polars", "numpy", "starlette", "httpx2") if name in sys.modules])
"""


def test_starting_a_run_offline_imports_no_library_and_mainspring_itself_next_to_nothing(tmp_path: Path) -> None:
    imported, *libraries = Script(tmp_path).run(STARTED)[0].split()
    assert libraries == []
    assert float(imported) < 0.1


def test_what_cannot_be_a_run_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for wrong in (
        {"experiment": "a b"},
        {"experiment": "churn", "mode": "sometimes"},
        {"experiment": "churn", "url": "nonsense"},
        {"experiment": "churn", "capture": "thoughts"},
        {"experiment": "churn", "run": "a b"},
    ):
        with pytest.raises(InvalidRequest):
            mainspring.start_run(**wrong)
    assert [*tmp_path.iterdir()] == []
