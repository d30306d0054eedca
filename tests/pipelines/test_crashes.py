"""Whatever is killed, whenever: each effect happens once, finished steps are not run again, the job ends."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from mainspring.pipelines.leases import MAX_LOSSES, Leases
from mainspring.pipelines.model import Failure, Job, Pipeline, Step, StepLog
from mainspring.pipelines.service import Pipelines
from tests.pipelines.conftest import WorkerProcess, eventually, lives, notes

Start = Callable[..., WorkerProcess]


def step(name: str, function: str, *needs: str) -> Step:
    return Step(name=name, function=f"pipeline_steps:{function}", needs=list(needs), backoff_s=0.0)


def fan() -> Pipeline:
    middle = [step(f"m{number}", "work", "first") for number in range(3)]
    return Pipeline("fan", [step("first", "work"), *middle, step("last", "work", "m0", "m1", "m2")])


def assert_each_effect_once(job: Job, folder: Path) -> None:
    effects = Counter(line for line in notes(folder) if line.startswith("effect"))
    expected = {f"effect job:{job.id}_{s.name}_{label}" for s in job.steps for label in ("first", "second")}
    assert set(effects) == expected
    assert set(effects.values()) == {1}


@pytest.mark.slow  # Each kill costs the start of a worker.
@pytest.mark.parametrize("seed", [1, 2])
def test_a_worker_killed_at_random_moments_repeats_no_effect(
    pipelines: Pipelines, start_worker: Start, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    job = pipelines.start(fan(), {"folder": str(tmp_path), "pause_s": 0.2})
    worker = start_worker("w1", lease_s=30.0)
    done_at: list[tuple[int, set[str]]] = []
    deadline = time.monotonic() + 90
    while pipelines.get(job.id).status == "running":
        assert time.monotonic() < deadline
        begun = sum(line.startswith("begin") for line in notes(tmp_path))
        eventually(
            lambda begun=begun: (
                sum(line.startswith("begin") for line in notes(tmp_path)) > begun
                or pipelines.get(job.id).status != "running"
            )
        )
        time.sleep(chance.uniform(0.0, 0.45))
        done = {s.name for s in pipelines.get(job.id).steps if s.state == "done"}
        worker.kill()
        done_at.append((len(notes(tmp_path)), done))
        # The same name: what it had leased is taken up at once, not after 30 s.
        worker = start_worker("w1", lease_s=30.0)
    found = pipelines.get(job.id)
    assert (found.status, [s.state for s in found.steps]) == ("done", ["done"] * 5)
    assert_each_effect_once(found, tmp_path)
    lines = notes(tmp_path)
    for seen, done in done_at:
        assert not {line.split()[1] for line in lines[seen:] if line.startswith("begin")} & done
    ends = Counter(line.split()[1] for line in notes(tmp_path) if line.startswith("end"))
    assert all(found.step(name).attempt >= count for name, count in ends.items())


def test_another_worker_takes_over_when_the_lease_runs_out(
    pipelines: Pipelines, start_worker: Start, tmp_path: Path
) -> None:
    job = pipelines.start(Pipeline("p", [step("wait", "wait_for_file")]), {"folder": str(tmp_path)})
    first = start_worker("w1")
    eventually(lambda: notes(tmp_path))
    child = int(notes(tmp_path)[0].split()[1])
    first.kill()
    eventually(lambda: not lives(child))
    start_worker("w2")
    eventually(lambda: len(notes(tmp_path)) == 2)
    (tmp_path / "go").touch()
    eventually(lambda: pipelines.get(job.id).status == "done")
    assert pipelines.get(job.id).step("wait").attempt == 2


def test_a_worker_that_hangs_loses_its_child_before_another_takes_over(
    pipelines: Pipelines, start_worker: Start, tmp_path: Path
) -> None:
    job = pipelines.start(Pipeline("p", [step("wait", "wait_for_file")]), {"folder": str(tmp_path)})
    hanging = start_worker("w1")
    eventually(lambda: notes(tmp_path))
    child = int(notes(tmp_path)[0].split()[1])
    os.kill(hanging.process.pid, signal.SIGSTOP)
    eventually(lambda: not lives(child), within_s=5)
    start_worker("w2")
    eventually(lambda: len(notes(tmp_path)) == 2)
    os.kill(hanging.process.pid, signal.SIGCONT)
    (tmp_path / "go").touch()
    eventually(lambda: pipelines.get(job.id).status == "done")
    again = pipelines.start(Pipeline("p", [step("a", "work"), step("b", "work")]), {"folder": str(tmp_path)})
    eventually(lambda: pipelines.get(again.id).status == "done")
    assert hanging.process.poll() is None
    assert pipelines.get(job.id).step("wait").attempt == 2


def test_a_machine_that_was_paused_past_its_leases_repeats_no_effect(
    pipelines: Pipelines, start_worker: Start, tmp_path: Path
) -> None:
    job = pipelines.start(fan(), {"folder": str(tmp_path), "pause_s": 0.5})
    paused = start_worker("w1")
    eventually(lambda: any(line.startswith("effect") for line in notes(tmp_path)))
    child = int(notes(tmp_path)[0].split()[2])
    # Worker and child at once, between the two effects of the step: nobody is left who could notice the time.
    for process in (paused.process.pid, child):
        os.kill(process, signal.SIGSTOP)
    start_worker("w2")
    eventually(lambda: pipelines.get(job.id).step("first").state == "done")
    for process in (child, paused.process.pid):
        os.kill(process, signal.SIGCONT)
    eventually(lambda: pipelines.get(job.id).status == "done")
    found = pipelines.get(job.id)
    assert found.step("first").owner is None
    assert found.step("first").attempt == 2
    assert_each_effect_once(found, tmp_path)
    eventually(lambda: not lives(child))
    assert paused.process.poll() is None


def test_a_killed_child_is_a_failed_attempt_not_a_lost_worker(
    pipelines: Pipelines, start_worker: Start, tmp_path: Path
) -> None:
    job = pipelines.start(Pipeline("p", [step("wait", "wait_for_file")]), {"folder": str(tmp_path)})
    worker = start_worker("w1")
    eventually(lambda: notes(tmp_path))
    (tmp_path / "go").touch()
    os.kill(int(notes(tmp_path)[0].split()[1]), signal.SIGKILL)
    eventually(lambda: pipelines.get(job.id).status == "done")
    assert worker.process.poll() is None


def test_two_workers_never_run_one_step_at_the_same_time(
    pipelines: Pipelines, start_worker: Start, tmp_path: Path
) -> None:
    count = 40
    wide = Pipeline("wide", [Step(name=f"s{n}", function="pipeline_steps:alone", max_attempts=1) for n in range(count)])
    job = pipelines.start(wide, {"folder": str(tmp_path)})
    start_worker("w1")
    start_worker("w2")
    eventually(lambda: pipelines.get(job.id).status != "running")
    found = pipelines.get(job.id)
    assert found.status == "done"
    assert [s.attempt for s in found.steps] == [1] * count


def test_a_step_that_loses_every_worker_is_given_up(pipelines: Pipelines, leases: Leases) -> None:
    job = pipelines.start(Pipeline("p", [step("a", "add"), step("b", "add", "a")]))
    for _ in range(MAX_LOSSES):
        assert leases.claim("w") is not None
        leases.reclaim("w")
    assert leases.claim("w") is None
    found = pipelines.get(job.id)
    assert (found.status, found.step("a").state, found.step("b").state) == ("failed", "failed", "cancelled")
    assert "memory" in str(found.error)


def test_a_lost_step_of_a_failed_job_is_not_run_again(pipelines: Pipelines, leases: Leases) -> None:
    job = pipelines.start(Pipeline("p", [step("a", "add"), step("b", "add")]))
    first, second = leases.claim("w1"), leases.claim("w2")
    assert first is not None
    assert second is not None
    leases.fail(second, Failure(error="no", permanent=True), StepLog(job.id, "b", 1, ""))
    leases.reclaim("w1")
    assert leases.claim("w1") is None
    assert [s.state for s in pipelines.get(job.id).steps] == ["cancelled", "failed"]
