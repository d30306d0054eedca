"""A turn outlives whatever of its platform is killed."""

from __future__ import annotations

import threading
from pathlib import Path

import httpx2
import psutil
import pytest

from mainspring.core.settings import Settings
from mainspring.loop.narrator import Silent
from mainspring.loop.platform import RunningPlatform
from mainspring.loop.table import split
from mainspring.loop.turn import Request, turn
from tests.holds.running import kill_one
from tests.loop import tables

VICTIMS = {
    "window 4 of": "mainspring.planes.data",
    "window 8 of": "mainspring.planes.control",
    "window 12 of": "mainspring.planes.worker",
    "window 16 of": "--json --home",
}


class Killing(Silent):
    """Kills one process of the platform after each of some windows."""

    def __init__(self, home: Path) -> None:
        self.home, self.killed = home, list[str]()

    def progress(self, stage: str, text: str) -> None:
        for moment, victim in VICTIMS.items():
            if text.startswith(moment):
                self._kill(victim)

    def _kill(self, victim: str) -> None:
        if kill_one(self.home, victim):
            self.killed.append(victim)


@pytest.mark.slow
def test_a_turn_goes_on_when_a_plane_or_the_supervisor_is_killed(tmp_path: Path) -> None:
    """Slow: the platform is started, and each of its processes again."""
    table = split(tables.independent(1_500, seed=2), "class", time=None)
    killing = Killing(tmp_path)
    report = turn(Settings(home=tmp_path), table, Request(name="hunted"), killing)
    assert killing.killed == list(VICTIMS.values())
    assert (report.requests.rows, report.requests.failed) == (table.later.height, 0)
    assert len(report.windows) == len(table.windows)
    assert report.retrainings == []
    assert report.live == report.frozen


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["mainspring.planes.control", "mainspring.planes.data", "--json --home"])
def test_what_is_killed_before_it_was_ever_ready_is_started_again(tmp_path: Path, victim: str) -> None:
    """Slow: a platform is started."""
    ended = threading.Event()
    opened: list[RunningPlatform] = []

    def kill() -> None:
        while not ended.is_set():
            if kill_one(tmp_path, victim):
                return

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        opened.append(RunningPlatform(Settings(home=tmp_path)))
        assert httpx2.get(f"{opened[0].control}/health").status_code == 200
        assert httpx2.get(f"{opened[0].data}/v2/health/live").status_code == 200
    finally:
        ended.set()
        killer.join()
        for platform in opened:
            platform.close()


@pytest.mark.slow
def test_nothing_is_left_running_after_a_turn(tmp_path: Path) -> None:
    """Slow: a platform is started."""

    class Stopping(Silent):
        def progress(self, stage: str, text: str) -> None:
            if text.startswith("window 2 of"):
                raise KeyboardInterrupt

    before = {child.pid for child in psutil.Process().children(recursive=True)}
    table = split(tables.independent(300, seed=2), "class", time=None)
    with pytest.raises(KeyboardInterrupt):
        turn(Settings(home=tmp_path), table, Request(name="stopped"), Stopping())
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    assert [child.cmdline() for child in left if child.status() != psutil.STATUS_ZOMBIE] == []
