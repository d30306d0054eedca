"""`loop run` ends well although the processes of its platform are killed at random moments, from its start on."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest

from mainspring.core.settings import Settings
from mainspring.loop.narrator import Silent
from mainspring.loop.table import split
from mainspring.loop.turn import Request, turn
from tests.holds.running import kill_one
from tests.loop import tables

VICTIMS = {
    "control": "mainspring.planes.control",
    "data": "mainspring.planes.data",
    "worker": "mainspring.planes.worker",
    "child": "mainspring.pipelines.child",
    "supervisor": "mainspring up --json",
}
LONGEST_PAUSE_S = 8.0


class Killer:
    """Kills each victim once in random order, as soon as it is there after a random pause."""

    def __init__(self, home: Path, seed: int) -> None:
        self.home = home
        chance = random.Random(seed)
        victims = chance.sample(list(VICTIMS), len(VICTIMS))
        self.plan = [(victim, round(chance.uniform(0.0, LONGEST_PAUSE_S), 3)) for victim in victims]
        self.killed: list[str] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="killer")

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        for victim, pause_s in self.plan:
            if self._ended.wait(pause_s):
                return
            while not kill_one(self.home, VICTIMS[victim]):
                if self._ended.wait(0.01):
                    return
            self.killed.append(victim)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", range(2))
def test_a_turn_ends_well_although_everything_below_it_is_killed_once(tmp_path: Path, seed: int) -> None:
    """Slow: a platform is started, trains again on data that drift, and each of its processes is started again."""
    table = split(tables.flip(3_000, at=0.65), "class", time=None)
    with Killer(tmp_path, seed) as killer:
        print(f"seed {seed}: {killer.plan}", flush=True)
        report = turn(Settings(home=tmp_path), table, Request(name="hunted"), Silent())
    assert len(killer.killed) == len(VICTIMS)
    assert (report.requests.rows, report.requests.failed) == (table.later.height, 0)
    assert [one.rows for one in report.windows] == [(one.start, one.stop) for one in table.windows]
    assert not [note for note in report.notes if "did not reach" in note or "refused" in note]
    assert report.retrainings
    assert not [one for one in report.retrainings if one.outcome == "failed"]
    assert len({one.job for one in report.retrainings}) == len(report.retrainings)
