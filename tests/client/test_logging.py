"""Logging never waits for tracking, and everything that was logged arrives there exactly once."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mainspring.client.entries import WRITER
from mainspring.client.logging import RunLogger
from mainspring.client.sending import Link
from mainspring.client.starting import start_run
from mainspring.client.syncing import send_spooled
from mainspring.core.errors import (
    Conflict,
    Forbidden,
    InvalidRequest,
    MainspringError,
    OverLimit,
    Unauthenticated,
    Unavailable,
)
from mainspring.core.ids import new_id
from mainspring.runtime.spool_writer import is_abandoned
from mainspring.storage.objects.store import open_objects
from mainspring.storage.sql.database import Database
from mainspring.tracking.alerts.service import Alerts
from mainspring.tracking.media.service import Media
from mainspring.tracking.model import RunDetails
from mainspring.tracking.service import Tracking
from tests.holds.running import eventually


class Here:
    """What takes in runs, in this process."""

    def __init__(self, tracking: Tracking) -> None:
        self.tracking, self.objects = tracking, tracking.objects
        self.media, self.alerts = Media(tracking.database), Alerts(tracking.database)

    def close(self) -> None:
        """Nothing to let go of."""


def to(tracking: Tracking) -> Link:
    return Link(lambda: Here(tracking))


def settled(tracking: Tracking, spool: Path) -> int:
    """Send what is left, and tell how many folders are done with."""
    return sum(sent.state == "sent" for sent in send_spooled(Here(tracking), spool))


class Wire(Tracking):
    """Tracking behind a wire that can be cut: before a call arrives, or after it, so that only its answer is lost."""

    cut_before = False
    cut_with: type[MainspringError] = Unavailable
    answers_to_lose = 0
    calls = 0

    def _pass(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        if self.cut_before:
            raise self.cut_with("the wire is cut")
        answer = call(*args, **kwargs)
        if self.answers_to_lose:
            self.answers_to_lose -= 1
            raise Unavailable("the answer is lost")
        return answer

    def create_run(self, *args: Any, **kwargs: Any) -> Any:
        return self._pass(super().create_run, *args, **kwargs)

    def log_batch(self, *args: Any, **kwargs: Any) -> Any:
        return self._pass(super().log_batch, *args, **kwargs)

    def finish_run(self, *args: Any, **kwargs: Any) -> Any:
        return self._pass(super().finish_run, *args, **kwargs)


@pytest.fixture
def tracking(database: Database, tmp_path: Path) -> Wire:
    return Wire(database, open_objects(f"file://{tmp_path / 'objects'}"))


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def left(spool: Path) -> list[Path]:
    return [path for path in spool.glob("*") if path.is_dir()]


def test_what_is_logged_arrives(tracking: Wire, spool: Path) -> None:
    with start_run(to(tracking), "churn", "first", spool=spool, params={"lr": 0.1}, tags={"team": "ads"}) as run:
        run.log_param("depth", 3)
        run.log_params({"flag": True})
        run.set_tag("note", "x")
        run.log_metrics({"loss": 0.5, "nan": math.nan}, step=1)
        run.log_metric("loss", 0.25, step=2)
    details: RunDetails = tracking.get_run(run.run)
    assert (details.run.name, details.run.status) == ("first", "finished")
    assert details.params == {"lr": "0.1", "depth": "3", "flag": "True"}
    assert details.tags.items() >= {"team": "ads", "note": "x"}.items()
    assert tracking.metric_history(run.run, "loss").values == [0.5, 0.25]
    assert math.isnan(details.metrics["nan"].number)
    assert tracking.get_environment(run.run).packages
    assert left(spool) == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("x"), "failed"),
        (SystemExit(2), "failed"),
        (SystemExit(0), "finished"),
        (KeyboardInterrupt(), "killed"),
    ],
)
def test_a_run_ends_as_its_block_does(tracking: Wire, spool: Path, error: BaseException, status: str) -> None:
    with pytest.raises(type(error)), start_run(to(tracking), "churn", spool=spool) as run:
        raise error
    assert tracking.get_run(run.run).run.status == status


def test_an_outage_holds_nobody_up_and_loses_nothing(tracking: Wire, spool: Path) -> None:
    tracking.cut_before = True
    run = start_run(to(tracking), "churn", spool=spool)
    for step in range(2500):
        run.log_metric("loss", float(step), step)
    assert not run.flush(timeout_s=0.1)
    tracking.cut_before = False
    assert run.end()
    assert tracking.metric_history(run.run, "loss").steps == list(range(2500))


@pytest.mark.parametrize("refusal", [Unauthenticated, Forbidden])
def test_nothing_is_lost_because_a_token_has_expired(
    tracking: Wire, spool: Path, refusal: type[MainspringError]
) -> None:
    tracking.cut_before, tracking.cut_with = True, refusal
    run = start_run(to(tracking), "churn", spool=spool, capture="none")
    run.log({"loss": 1.0})
    assert not run.end(timeout_s=0.1)
    assert settled(tracking, spool) == 0
    tracking.cut_before = False
    assert settled(tracking, spool) == 1
    assert tracking.metric_history(run.run, "loss").values == [1.0]
    assert run.refused == []


def test_a_batch_whose_answer_was_lost_has_its_effect_once(tracking: Wire, spool: Path) -> None:
    run = start_run(to(tracking), "churn", spool=spool)
    assert run.flush()
    for value in ("a", "b", "c"):
        tracking.answers_to_lose = 1
        run.set_tag("state", value)
        run.log_metric("n", 1.0)
        assert run.flush()
    assert run.end()
    assert tracking.get_run(run.run).tags["state"] == "c"
    assert len(tracking.metric_history(run.run, "n").steps) == 3


def test_what_could_not_be_sent_is_sent_later_once(tracking: Wire, spool: Path) -> None:
    tracking.cut_before = True
    run = start_run(to(tracking), "churn", spool=spool)
    run.log_metric("loss", 1.0)
    assert not run.end(timeout_s=0.1)
    assert len(left(spool)) == 1
    assert settled(tracking, spool) == 0
    tracking.cut_before = False
    assert settled(tracking, spool) == 1
    assert settled(tracking, spool) == 0
    assert left(spool) == []
    assert tracking.get_run(run.run).run.status == "finished"
    assert tracking.metric_history(run.run, "loss").values == [1.0]


def test_the_next_logger_sends_what_an_earlier_one_could_not(tracking: Wire, spool: Path) -> None:
    tracking.cut_before = True
    earlier = start_run(to(tracking), "churn", spool=spool)
    earlier.end(timeout_s=0.1)
    tracking.cut_before = False
    with start_run(to(tracking), "churn", spool=spool):
        pass
    assert tracking.get_run(earlier.run).run.status == "finished"


def test_what_is_for_an_unknown_run_is_kept_until_the_run_is_known(tracking: Wire, spool: Path) -> None:
    run = new_id()
    logger = RunLogger(to(tracking), run, spool=spool)
    logger.log_metric("loss", 1.0)
    assert not logger.close(timeout_s=0.1)
    assert settled(tracking, spool) == 0
    tracking.create_run("churn", run=run)
    assert settled(tracking, spool) == 1
    assert tracking.metric_history(run, "loss").values == [1.0]


KILLED = """
import os, signal, sys
from pathlib import Path
from mainspring.client.sending import Link
from mainspring.client.starting import start_run
from mainspring.core.errors import Unavailable

def nobody():
    raise Unavailable("no control plane")

run = start_run(Link(nobody), "churn", spool=Path(sys.argv[1]))
for step in range(1500):
    run.log_metric("loss", step, step)
run.flush(timeout_s=0.0)
print(run.run, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_loses_nothing_that_reached_the_spool(tracking: Wire, spool: Path) -> None:
    died = subprocess.run([sys.executable, "-c", KILLED, str(spool)], stdout=subprocess.PIPE, text=True)
    assert died.returncode == -signal.SIGKILL
    run = died.stdout.strip()
    # What it had just started, to look at the code, holds its files for a moment longer.
    eventually(lambda: all(is_abandoned(folder) for folder in spool.glob(f"*.*/{WRITER}")))
    tracking.answers_to_lose = 1
    assert settled(tracking, spool) == 0
    assert settled(tracking, spool) == 1
    assert tracking.metric_history(run, "loss").steps == list(range(1500))
    assert tracking.get_run(run).run.status == "killed"


UNENDED = """
import sys
from pathlib import Path
from mainspring.client.sending import Link
from mainspring.client.starting import start_run
from mainspring.storage.objects.store import open_objects
from mainspring.storage.sql.database import open_database
from mainspring.tracking.service import Tracking

folder = Path(sys.argv[2])

class Here:
    objects = open_objects(f"file://{folder / 'objects'}")
    tracking = Tracking(open_database(sys.argv[1]), objects)

    def close(self):
        pass

run = start_run(Link(Here), "churn", spool=folder / "spool")
run.log_metric("loss", 1.0)
print(run.run, flush=True)
if sys.argv[3] == "raise":
    raise ValueError
"""


@pytest.mark.parametrize(("how", "status"), [("return", "finished"), ("raise", "failed")])
def test_a_script_that_ends_without_ending_its_run_ends_it(
    tracking: Wire, database_url: str, tmp_path: Path, how: str, status: str
) -> None:
    script = [sys.executable, "-c", UNENDED, database_url, str(tmp_path), how]
    said = subprocess.run(script, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.strip()
    assert tracking.get_run(said).run.status == status
    assert tracking.metric_history(said, "loss").values == [1.0]


def test_a_refused_param_takes_nothing_else_with_it(tracking: Wire, spool: Path) -> None:
    run = tracking.create_run("churn", params={"lr": "0.1"}).id
    logger = RunLogger(to(tracking), run, spool=spool)
    logger.log_param("lr", 0.2)
    logger.log_param("depth", 3)
    logger.log_metric("loss", 1.0)
    logger.set_tag("t", "x")
    assert logger.close()
    details = tracking.get_run(run)
    assert (details.params, details.tags, details.run.status) == ({"lr": "0.1", "depth": "3"}, {"t": "x"}, "running")
    assert details.metrics["loss"].number == 1.0
    assert len(logger.refused) == 1
    assert "'lr'" in logger.refused[0]


def test_what_can_never_be_logged_is_refused_at_the_call(tracking: Wire, spool: Path) -> None:
    with start_run(to(tracking), "churn", spool=spool) as run:
        run.log_param("lr", 1)
        run.log_param("lr", 1)
        with pytest.raises(Conflict):
            run.log_param("lr", 2)
        with pytest.raises(InvalidRequest):
            run.log_metric("", 1.0)
        with pytest.raises(ValueError, match="could not convert"):
            run.log_metric("loss", "high")  # type: ignore[arg-type]
        with pytest.raises(InvalidRequest):
            run.set_tag("t", "x" * 8001)


def test_memory_is_bounded_while_nothing_can_be_sent(tracking: Wire, spool: Path) -> None:
    tracking.cut_before = True
    run = start_run(to(tracking), "churn", spool=spool)
    run.flush(timeout_s=0.0)
    logger = RunLogger(to(tracking), run.run, spool=spool, max_queued=100)
    for step in range(1000):
        logger.log_metric("loss", 1.0, step)
        assert len(logger._metrics) < 100
    tracking.cut_before = False
    assert run.flush()
    assert logger.end()
    assert run.close()
    assert len(tracking.metric_history(run.run, "loss").steps) == 1000


def test_threads_may_log_to_one_run(tracking: Wire, spool: Path) -> None:
    with start_run(to(tracking), "churn", spool=spool) as run:

        def log(thread: int) -> None:
            for step in range(500):
                run.log_metric(f"loss-{thread}", step, step)

        threads = [threading.Thread(target=log, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for number in range(4):
        assert tracking.metric_history(run.run, f"loss-{number}").steps == list(range(500))


def test_a_call_takes_less_than_five_microseconds(tracking: Wire, spool: Path) -> None:
    with start_run(to(tracking), "churn", spool=spool) as run:
        run.flush()
        best = math.inf
        for _ in range(5):
            begin = time.thread_time()
            for step in range(5000):
                run.log_metric("loss", 0.5, step)
            best = min(best, (time.thread_time() - begin) / 5000)
    assert best < 5e-6


def test_values_of_one_call_are_of_one_step_and_steps_count_up_by_themselves(tracking: Wire, spool: Path) -> None:
    with start_run(to(tracking), "churn", spool=spool) as run:
        run.log({"loss": 0.5, "epoch": 1})
        run.log({"loss": 0.25, "epoch": 2, "valid": {"auc": np.float32(0.5), "deep": {"n": True}}})
        run.log({"loss": np.array([0.125])}, step=10)
        run.log({"loss": 0.0})
    history = tracking.metric_history(run.run, "loss")
    assert (history.steps, history.values) == ([0, 1, 10, 11], [0.5, 0.25, 0.125, 0.0])
    assert tracking.metric_history(run.run, "epoch").steps == [0, 1]
    found = tracking.get_run(run.run).metrics
    assert (found["valid/auc"].number, found["valid/deep/n"].number, found["valid/auc"].step) == (0.5, 1.0, 1)


@pytest.mark.parametrize("wrong", ["high", None, [1, 2], object(), 10**400])
def test_of_a_call_with_a_value_that_is_no_number_nothing_is_logged(tracking: Wire, spool: Path, wrong: object) -> None:
    with start_run(to(tracking), "churn", spool=spool) as run:
        with pytest.raises((TypeError, ValueError), match="'loss'"):
            run.log({"before": 1.0, "loss": wrong})
        run.log({"after": 1.0})
    assert {key: point.step for key, point in tracking.get_run(run.run).metrics.items()} == {"after": 0}


def test_after_the_end_nothing_more_is_taken(tracking: Wire, spool: Path) -> None:
    with start_run(to(tracking), "churn", spool=spool) as run:
        run.log({"loss": 1.0})
    with pytest.raises(InvalidRequest, match="ended"):
        run.log({"loss": 2.0})
    with pytest.raises(InvalidRequest, match="ended"):
        run.log_artifact("a.txt", "a")


def test_what_has_no_room_on_the_disk_is_dropped_and_counted_and_the_program_goes_on(
    tracking: Wire, spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    id = tracking.create_run("churn").id
    tracking.cut_before = True
    run = RunLogger(to(tracking), id, spool=spool, max_queued=100, max_bytes=20_000)
    for step in range(5_000):
        run.log({"loss": 1.0}, step)
    with pytest.raises(OverLimit, match="run_spool_max_bytes"):
        run.log_artifact("big.bin", bytes(300_000))
    assert run.dropped > 1_000
    tracking.cut_before = False
    eventually(lambda: run.flush(timeout_s=1.0))
    assert run.end()
    details = tracking.get_run(run.run)
    arrived = len(tracking.metric_history(run.run, "loss").steps)
    assert arrived + run.dropped == 5_000
    assert details.tags["mainspring.dropped"] == str(run.dropped)
    assert sum("lost" in record.message for record in caplog.records) == 1


def test_files_arrive_as_they_were_when_they_were_logged(tracking: Wire, spool: Path, tmp_path: Path) -> None:
    tracking.cut_before = True
    folder = tmp_path / "plots"
    (folder / "deep").mkdir(parents=True)
    (folder / "small.txt").write_text("small")
    (folder / "deep" / "large.bin").write_bytes(bytes(1_000_000))
    run = start_run(to(tracking), "churn", spool=spool)
    run.log_file(folder)
    run.log_file(folder / "small.txt", "renamed.txt")
    run.log_file(folder / "deep" / "large.bin")
    with pytest.raises(InvalidRequest, match="cannot be read"):
        run.log_file(tmp_path / "nowhere")
    with pytest.raises(InvalidRequest, match="path of an artifact"):
        run.log_artifact("../../etc/passwd", "x")
    (folder / "deep" / "large.bin").write_bytes(b"changed")
    (folder / "small.txt").write_text("changed")
    tracking.cut_before = False
    assert run.end()
    kept = {artifact.path: artifact.size for artifact in tracking.list_artifacts(run.run)}
    wanted = {"plots/deep/large.bin": 1_000_000, "plots/small.txt": 5, "renamed.txt": 5, "large.bin": 1_000_000}
    assert wanted.items() <= kept.items()
    assert tracking.read_artifact(run.run, "plots/deep/large.bin") == bytes(1_000_000)
    assert left(spool) == []


def test_a_call_of_one_value_takes_less_than_five_microseconds(tracking: Wire, spool: Path) -> None:
    with start_run(to(tracking), "churn", spool=spool, capture="none") as run:
        run.flush()
        best = math.inf
        for _ in range(5):
            begin = time.thread_time()
            for _ in range(5000):
                run.log({"loss": 0.5})
            best = min(best, (time.thread_time() - begin) / 5000)
    assert best < 5e-6


def test_a_fork_does_not_end_the_run_of_its_parent(tracking: Wire, spool: Path) -> None:
    run = start_run(to(tracking), "churn", spool=spool)
    assert run.flush()
    child = os.fork()
    if child == 0:
        run._at_exit()
        os._exit(0)
    os.waitpid(child, 0)
    run.log_metric("loss", 1.0)
    assert run.flush()
    assert tracking.get_run(run.run).run.status == "running"
    assert run.end()
