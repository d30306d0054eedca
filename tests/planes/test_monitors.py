"""Monitors look in the worker plane: every window once, one worker at a time, and on when that one is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mainspring.core.errors import InvalidData
from mainspring.core.settings import Settings
from mainspring.monitoring.model import Settings as MonitorSettings
from mainspring.monitoring.model import Windows
from mainspring.planes.embedded import Platform
from mainspring.planes.monitors import MonitorRounds
from mainspring.planes.up import environment
from mainspring.runtime.scheduler import Scheduler
from mainspring.storage.sql.database import open_database
from tests.holds.running import eventually
from tests.monitoring.traffic import INFO, Traffic

ROOT = Path(__file__).parents[2]
ROWS = 200
ENDPOINTS = ("broken", "churn")
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def platform(database_url: str, tmp_path: Path) -> Iterator[Platform]:
    """Two endpoints are watched; nothing looks yet."""
    settings = Settings(
        home=str(tmp_path / "home"), database_url=database_url, policy_interval_s=0.05, lease_s=60, drain_timeout_s=0
    )
    with Platform(settings) as opened:
        assert isinstance(opened, Platform)
        frame = Traffic(tmp_path / "unused").frame(1000)
        watched = MonitorSettings(windows=Windows(rows=ROWS))
        for endpoint in ENDPOINTS:
            opened.monitoring.set_reference(endpoint, f"release:{endpoint}@1", frame, info=INFO, settings=watched)
        yield opened


@pytest.fixture
def start(platform: Platform) -> Iterator[Start]:
    """Start a process of the worker plane, or what is given instead."""
    started: list[subprocess.Popen[bytes]] = []
    variables = {**os.environ, **environment(platform.settings)}

    def begin(*command: str) -> subprocess.Popen[bytes]:
        words = [sys.executable, *(command or ("-m", "mainspring.planes.worker", "--id", f"w{len(started)}"))]
        started.append(subprocess.Popen(words, cwd=ROOT, env=variables))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()


def test_every_window_is_checked_once_although_workers_are_killed(
    platform: Platform, start: Start, tmp_path: Path
) -> None:
    traffic = Traffic(platform.home / "spool")

    def checked() -> list[int]:
        return sorted(report.number for report in platform.monitoring.windows("churn", "inputs"))

    def serve(windows: int) -> None:
        traffic.serve(ROWS)
        platform.predictions.ingest()
        eventually(lambda: checked() == list(range(1, windows + 1)), lambda: checked())

    workers = [start(), start()]
    serve(1)
    workers[0].kill()
    serve(2)
    workers[1].kill()
    start()
    serve(3)
    events = platform.lineage.events(kind="WindowChecked")
    assert len(events) == 3
    assert {event.actor for event in events} == {"monitors"}


class Watched:
    """Instead of a platform: notes each look of its monitors, whose end may be held back."""

    def __init__(self, home: Path) -> None:
        self.home, self.monitoring = home, self

    def advance(self, endpoint: str) -> None:
        """Look at an endpoint, of which one is broken."""
        self._note("begin", endpoint)
        while (self.home / "hold").exists():
            time.sleep(0.01)
        self._note("end", endpoint)
        if endpoint == "broken":
            raise InvalidData(f"the log of {endpoint} makes no sense")

    def _note(self, what: str, endpoint: str) -> None:
        with (self.home / "looks").open("a") as file:
            file.write(f"{what} {endpoint} {os.getpid()}\n")


def open_watched(home: str) -> Watched:
    """Stand in for the platform in the child of a worker."""
    return Watched(Path(home))


def looks(platform: Platform) -> list[list[str]]:
    file = platform.home / "looks"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture
def begin_rounds(platform: Platform) -> Iterator[Callable[..., MonitorRounds]]:
    """The monitors of one more worker, in this process."""
    database = open_database(platform.settings.database_url)
    begun: list[MonitorRounds] = []

    def begin(**settings: Any) -> MonitorRounds:
        changed = msgspec.structs.replace(platform.settings, **settings)
        begun.append(
            MonitorRounds(
                database, changed, platform="tests.planes.test_monitors:open_watched", home=str(platform.home)
            )
        )
        begun[-1].start()
        return begun[-1]

    yield begin
    for rounds in begun:
        rounds.stop()
    database.close()


def test_what_is_wrong_with_one_monitor_does_not_keep_the_others_waiting(
    platform: Platform, begin_rounds: Callable[..., MonitorRounds], caplog: pytest.LogCaptureFixture
) -> None:
    begin_rounds()
    eventually(lambda: sum(look[:2] == ["end", "churn"] for look in looks(platform)) >= 2)
    assert "monitor of broken: the log of broken makes no sense" in caplog.text


def test_one_worker_looks_at_a_time(platform: Platform, begin_rounds: Callable[..., MonitorRounds]) -> None:
    for _ in range(3):
        begin_rounds()
    eventually(lambda: len(looks(platform)) >= 40)
    found = looks(platform)
    for begun, ended in zip(found[::2], found[1::2], strict=False):
        assert (begun[0], ended[0], begun[1:]) == ("begin", "end", ended[1:])


_ROUNDS = """
import sys, threading
from mainspring.core.settings import load_settings
from mainspring.planes.monitors import MonitorRounds
from mainspring.storage.sql.database import open_database
settings = load_settings().settings
database = open_database(settings.database_url)
MonitorRounds(database, settings, platform="tests.planes.test_monitors:open_watched", home=settings.home).start()
threading.Event().wait()
"""


def ended(pid: int) -> bool:
    """Whether a process runs no more; whoever adopted it may be slow to take note of its end."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in ("Z", "X")


def test_a_round_of_a_killed_worker_is_made_by_another_at_once(
    platform: Platform, start: Start, begin_rounds: Callable[..., MonitorRounds]
) -> None:
    (platform.home / "hold").touch()
    killed = start("-c", _ROUNDS)
    eventually(lambda: looks(platform))
    begin_rounds()
    first = int(looks(platform)[0][2])
    killed.kill()
    # The lease would last for a minute.
    eventually(lambda: len(looks(platform)) == 2, within_s=20)
    assert ended(first)
    (platform.home / "hold").unlink()
    assert int(looks(platform)[1][2]) != first


def test_a_worker_that_stops_does_not_wait_for_its_round(
    platform: Platform, begin_rounds: Callable[..., MonitorRounds]
) -> None:
    (platform.home / "hold").touch()
    rounds = begin_rounds()
    eventually(lambda: looks(platform))
    rounds.stop()
    assert len(looks(platform)) == 1


def test_without_an_interval_nobody_looks(platform: Platform, begin_rounds: Callable[..., MonitorRounds]) -> None:
    begin_rounds(policy_interval_s=0)
    assert Scheduler(platform.database, {}).timers() == []
    assert looks(platform) == []
