"""A collection that is killed at any moment leaves every record whole or out of sight, and the next one ends it."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from mainspring.core.errors import NotFound
from mainspring.core.settings import Settings
from mainspring.planes.embedded import Platform
from mainspring.tracking.model import Metric
from tests.retention.test_service import named_in

POINTS = 400
RUNS = 12

COLLECT = """
import sys
from mainspring.core.settings import Settings
from mainspring.planes.embedded import Platform
from mainspring.retention import service
service._ROWS_AT_ONCE, service._OWNERS_AT_ONCE, service._CONDEMNED_AT_ONCE = 40, 2, 3
platform = Platform(Settings(home=sys.argv[1]))
print("ready", flush=True)
platform.garbage.collect_garbage(older_than="0s", object_age="0s")
print("done", flush=True)
"""


def test_a_collection_killed_at_any_moment_leaves_nothing_half_done(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Platform(Settings(home=str(home))) as platform:
        assert isinstance(platform, Platform)
        tracking = platform.tracking
        doomed, kept = [], []
        for number in range(RUNS):
            run = tracking.create_run("gone" if number % 3 == 0 else "e", params={"n": str(number)}).id
            tracking.log_batch(run, [Metric("loss", 0.5, step) for step in range(POINTS)])
            tracking.put_artifact(run, "a.txt", f"of {run}".encode())
            (kept if number % 3 == 1 else doomed).append(run)
        for run in doomed:
            platform.runs.delete_run(run)
        platform.experiments.delete_experiment("gone")
    chance = random.Random(7)
    killed = 0
    for _ in range(6):
        with subprocess.Popen([sys.executable, "-c", COLLECT, str(home)], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            time.sleep(0.01 + chance.random() * 0.05)
            child.send_signal(signal.SIGKILL)
            ended = child.communicate()[0]
        killed += "done" not in ended
        _all_is_whole(home, kept, doomed)
        if "done" in ended:
            break
    assert killed >= 1
    with Platform(Settings(home=str(home))) as platform:
        assert isinstance(platform, Platform)
        assert platform.garbage.collect_garbage(older_than="0s", object_age="0s").finished
        for run in doomed:
            assert named_in(platform.database, run) == []
        assert len(list(platform.objects.list())) == len(kept)
        assert platform.tracking.create_experiment("gone").deleted is None
    _all_is_whole(home, kept, doomed)


def _all_is_whole(home: Path, kept: list[str], doomed: list[str]) -> None:
    with Platform(Settings(home=str(home))) as platform:
        assert isinstance(platform, Platform)
        tracking = platform.tracking
        seen = dict.fromkeys(kept, True)
        for run in doomed:
            try:
                seen[run] = tracking.get_run(run).run.deleted is None
            except NotFound:
                continue
        for run, in_use in seen.items():
            assert in_use == (run in kept)
            assert len(tracking.metric_history(run, "loss").values) == POINTS
            assert tracking.read_artifact(run, "a.txt") == f"of {run}".encode()
            assert len(tracking.get_run(run).params) == 1
        assert set(kept) <= seen.keys()
