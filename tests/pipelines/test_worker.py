"""A worker runs each step once, in order, in a child process, and records what came of it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from mainspring.core.actor import acting_as
from mainspring.core.clock import ManualClock
from mainspring.core.errors import Conflict, StaleLease
from mainspring.pipelines.leases import Leases
from mainspring.pipelines.model import Failure, Job, Pipeline, Step, StepLog
from mainspring.pipelines.service import Pipelines
from mainspring.pipelines.worker import Worker, WorkerOptions
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import latest_events
from tests.pipelines.conftest import STEPS, eventually, lives, notes


def step(name: str, function: str = "", needs: list[str] | None = None, **more: Any) -> Step:
    more.setdefault("backoff_s", 0.0)
    return Step(name=name, function=f"pipeline_steps:{function or name}", needs=needs or [], **more)


def run(pipelines: Pipelines, worker: Worker, *steps: Step, **parameters: Any) -> Job:
    job = pipelines.start(Pipeline("p", list(steps)), parameters)
    worker.run_until_idle()
    return pipelines.get(job.id)


def test_steps_run_after_what_they_need_and_get_its_results(pipelines: Pipelines, worker: Worker) -> None:
    diamond = [step("d", "add", ["b", "c"]), step("b", "add", ["a"]), step("c", "add", ["a"]), step("a", "add")]
    job = run(pipelines, worker, *diamond)
    assert job.status == "done"
    assert {s.name: s.result for s in job.steps} == {"a": 1, "b": 2, "c": 2, "d": 5}
    assert [s.name for s in job.steps] == ["d", "b", "c", "a"]
    assert all(s.attempt == 1 and s.owner is None and s.started and s.ended for s in job.steps)


def test_a_step_is_told_where_it_is(pipelines: Pipelines, worker: Worker) -> None:
    job = run(pipelines, worker, step("a", "add"), step("b", "describe", ["a"]), x=[1, {"y": None}])
    told = job.step("b").result
    assert told | {"pid": 0} == {
        "run": job.id,
        "step": "b",
        "attempt": 1,
        "parameters": {"x": [1, {"y": None}]},
        "inputs": {"a": 1},
        "token": f"job:{job.id}/b/x",
        "pid": 0,
    }


def test_one_child_runs_many_steps_and_keeps_the_platform_open(
    pipelines: Pipelines, worker: Worker, tmp_path: Path
) -> None:
    job = run(pipelines, worker, step("a", "use_platform"), step("b", "use_platform", ["a"]))
    assert job.step("b").result == [str(tmp_path), "a", "b"]


def test_what_a_step_writes_is_in_its_log(pipelines: Pipelines, worker: Worker) -> None:
    job = run(pipelines, worker, step("talk"))
    log = pipelines.logs(job.id, "talk")[0]
    assert (log.attempt, log.traceback) == (1, None)
    assert sorted(log.text.splitlines()) == ["by the descriptor", "to stderr", "to stdout"]


def test_a_long_log_keeps_its_beginning_and_its_end(pipelines: Pipelines, worker: Worker) -> None:
    job = run(pipelines, worker, step("flood"))
    text = pipelines.logs(job.id)[0].text
    assert text.startswith("line 0\n")
    assert text.endswith("line 99999\n")
    assert "bytes left out" in text
    assert len(text) < 70_000


def test_a_step_that_raises_is_told_in_one_line_with_its_traceback_in_the_log(
    pipelines: Pipelines, worker: Worker
) -> None:
    job = run(pipelines, worker, step("complain", max_attempts=1), step("after", "add", ["complain"]), step("add"))
    assert job.status == "failed"
    assert job.error == "step complain failed: ValueError: the first line the second line"
    assert job.step("complain").error == "ValueError: the first line the second line"
    assert job.step("after").state == "cancelled"
    traceback = pipelines.logs(job.id, "complain")[0].traceback
    assert traceback is not None
    assert "in complain" in traceback


def test_a_failed_step_is_tried_again_up_to_its_attempts(pipelines: Pipelines, worker: Worker) -> None:
    assert run(pipelines, worker, step("recover")).step("recover").result == 3
    job = run(pipelines, worker, step("recover", max_attempts=2))
    assert (job.status, job.step("recover").attempt) == ("failed", 2)
    assert [log.attempt for log in pipelines.logs(job.id)] == [1, 2]


def test_what_another_attempt_cannot_mend_is_not_tried_again(pipelines: Pipelines, worker: Worker) -> None:
    job = run(pipelines, worker, step("refuse"))
    assert (job.status, job.step("refuse").attempt) == ("failed", 1)
    assert job.step("refuse").error == "InvalidData: column age is missing"


def test_an_unknown_function_fails_the_step(pipelines: Pipelines, worker: Worker) -> None:
    job = run(pipelines, worker, step("a", "no_such_function", max_attempts=1))
    assert "no_such_function" in str(job.step("a").error)


@pytest.mark.parametrize(
    ("function", "error"),
    [
        ("leave", "the step ended its process: exit(3)"),
        ("vanish", "the step ended its process with exit status 7"),
        ("crash", "the process of the step was ended by SIGSEGV"),
    ],
)
def test_a_child_that_ends_fails_its_step_and_a_new_one_runs_the_next(
    pipelines: Pipelines, worker: Worker, function: str, error: str
) -> None:
    job = run(pipelines, worker, step("a", function, max_attempts=1))
    assert (job.status, job.step("a").error) == ("failed", error)
    assert run(pipelines, worker, step("add")).status == "done"


def test_a_step_over_its_timeout_is_killed_with_what_it_started(
    pipelines: Pipelines, worker: Worker, tmp_path: Path
) -> None:
    slow = step("sleep_with_company", timeout_s=1.0, max_attempts=1)
    job = run(pipelines, worker, slow, folder=str(tmp_path))
    assert job.step(slow.name).error == "the step took longer than its timeout of 1 s"
    company = int(notes(tmp_path)[0].split()[1])
    eventually(lambda: not lives(company))
    assert run(pipelines, worker, step("add")).status == "done"


def test_a_result_too_large_to_record_is_refused(pipelines: Pipelines, worker: Worker) -> None:
    assert "InvalidData" in str(run(pipelines, worker, step("too_much")).error)


def test_a_child_that_has_grown_is_replaced(leases: Leases, pipelines: Pipelines, tmp_path: Path) -> None:
    options = WorkerOptions(
        platform="pipeline_steps:open_platform", home="", import_paths=[STEPS], max_child_bytes=64 << 20
    )
    worker = Worker(leases, "w", options)
    job = run(pipelines, worker, step("a", "grow"), step("b", "grow", ["a"]))
    worker.close()
    assert job.step("a").result != job.step("b").result


def in_thread(worker: Worker, stop: threading.Event) -> threading.Thread:
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    return thread


def test_the_lease_is_kept_and_progress_told_while_a_step_runs(
    pipelines: Pipelines, worker: Worker, leases: Leases, tmp_path: Path
) -> None:
    job = pipelines.start(Pipeline("p", [step("wait_for_file")]), {"folder": str(tmp_path)})
    stop = threading.Event()
    thread = in_thread(worker, stop)
    eventually(lambda: pipelines.get(job.id).step("wait_for_file").progress == "waiting")
    first = pipelines.get(job.id).step("wait_for_file")
    assert (first.state, first.fraction, first.owner) == ("leased", 0.5, "w1")
    assert first.lease_until is not None
    eventually(lambda: pipelines.get(job.id).step("wait_for_file").lease_until != first.lease_until)
    assert leases.claim("another") is None
    (tmp_path / "go").touch()
    eventually(lambda: pipelines.get(job.id).status == "done")
    stop.set()
    thread.join()


def test_a_cancelled_job_stops_what_runs_and_records_nothing_of_it(
    pipelines: Pipelines, worker: Worker, tmp_path: Path
) -> None:
    job = pipelines.start(
        Pipeline("p", [step("sleep"), step("add", needs=["sleep"])]), {"folder": str(tmp_path), "sleep_s": 60}
    )
    stop = threading.Event()
    thread = in_thread(worker, stop)
    eventually(lambda: notes(tmp_path))
    pid = int(notes(tmp_path)[0].split()[1])
    cancelled = pipelines.cancel(job.id)
    assert (cancelled.status, [s.state for s in cancelled.steps]) == ("cancelled", ["cancelled", "cancelled"])
    assert pipelines.cancel(job.id) == cancelled
    eventually(lambda: not lives(pid))
    stop.set()
    thread.join()
    assert pipelines.get(job.id) == cancelled


def test_a_worker_that_is_told_to_stop_gives_its_step_back(
    pipelines: Pipelines, leases: Leases, tmp_path: Path
) -> None:
    worker = Worker(leases, "w", WorkerOptions(import_paths=[STEPS], drain_s=0.0))
    job = pipelines.start(Pipeline("p", [step("sleep")]), {"folder": str(tmp_path), "sleep_s": 60})
    stop = threading.Event()
    thread = in_thread(worker, stop)
    eventually(lambda: notes(tmp_path))
    stop.set()
    thread.join()
    given_back = pipelines.get(job.id).step("sleep")
    assert (given_back.state, given_back.owner, given_back.error) == ("pending", None, None)
    assert not lives(int(notes(tmp_path)[0].split()[1]))
    again = leases.claim("other")
    assert again is not None
    assert again.attempt == 2


def test_a_worker_that_is_told_to_stop_finishes_a_step_that_ends_in_time(
    pipelines: Pipelines, worker: Worker, tmp_path: Path
) -> None:
    job = pipelines.start(Pipeline("p", [step("wait_for_file"), step("add")]), {"folder": str(tmp_path)})
    stop = threading.Event()
    thread = in_thread(worker, stop)
    eventually(lambda: notes(tmp_path))
    stop.set()
    (tmp_path / "go").touch()
    thread.join()
    states = [s.state for s in pipelines.get(job.id).steps]
    assert states == ["done", "pending"]


def test_the_result_of_a_lost_lease_is_refused(pipelines: Pipelines, leases: Leases) -> None:
    job = pipelines.start(Pipeline("p", [step("add")]))
    first = leases.claim("zombie")
    assert first is not None
    assert leases.claim("other") is None
    assert leases.reclaim("zombie") == 1
    second = leases.claim("other")
    assert second is not None
    assert (first.fence, second.fence) == (1, 2)
    log = StepLog(job.id, "add", 1, "")
    with pytest.raises(StaleLease, match="fence 1"):
        leases.finish(first, "zombie's", log)
    with pytest.raises(StaleLease):
        leases.extend(first)
    leases.finish(second, "right", log)
    assert pipelines.get(job.id).step("add").result == "right"
    with pytest.raises(StaleLease):
        leases.finish(second, "again", log)


def test_failed_jobs_go_on_from_the_steps_that_are_done(pipelines: Pipelines, worker: Worker, tmp_path: Path) -> None:
    steps = [step("work"), step("recover", needs=["work"], max_attempts=2), step("add", "describe", ["recover"])]
    job = run(pipelines, worker, *steps, folder=str(tmp_path))
    assert [s.state for s in job.steps] == ["done", "failed", "cancelled"]
    pipelines.retry(job.id)
    worker.run_until_idle()
    retried = pipelines.get(job.id)
    assert (retried.status, [s.attempt for s in retried.steps]) == ("done", [1, 3, 1])
    assert len([line for line in notes(tmp_path) if line.startswith("begin")]) == 1
    with pytest.raises(Conflict):
        pipelines.retry(job.id)
    with pytest.raises(Conflict):
        pipelines.cancel(job.id)


def test_what_happens_to_a_job_is_told_in_events(pipelines: Pipelines, worker: Worker) -> None:
    job = run(pipelines, worker, step("a", "add"), step("b", "complain", ["a"], max_attempts=1))
    with pipelines.database.read() as connection:
        kinds = [event.kind for event in latest_events(connection, ref=job.ref)]
    assert kinds == ["JobFailed", "StepFailed", "StepFinished", "JobStarted"]


def test_a_step_is_done_in_the_name_of_who_started_the_job(pipelines: Pipelines, worker: Worker) -> None:
    with acting_as("ada", "local"):
        job = pipelines.start(Pipeline("p", [step("a", "who")]))
    worker.run_until_idle()
    assert pipelines.get(job.id).step("a").result == ["ada", f"job {job.id} a"]


def test_each_attempt_waits_twice_as_long_as_the_one_before(database: Database) -> None:
    clock = ManualClock()
    pipelines, leases = Pipelines(database, clock), Leases(database, clock=clock)
    job = pipelines.start(Pipeline("p", [step("a", "add", backoff_s=10.0, max_attempts=4)]))
    for wait_s in (10, 20, 40):
        lease = leases.claim("w")
        assert lease is not None
        leases.fail(lease, Failure(error="no"), StepLog(job.id, "a", lease.attempt, ""))
        clock.advance(wait_s - 1)
        assert leases.claim("w") is None
        clock.advance(1)
    assert leases.claim("w") is not None


@pytest.mark.parametrize("skew_s", [-3600.0, -15.0, 15.0, 3600.0], ids=lambda skew: f"{skew:+g} s")
def test_however_wrong_the_clock_of_a_worker_is_one_result_is_recorded(database: Database, skew_s: float) -> None:
    right, wrong = ManualClock(), ManualClock()
    wrong.advance(skew_s)
    here, there = (Leases(database, lease_s=10.0, clock=clock) for clock in (right, wrong))
    job = Pipelines(database, right).start(Pipeline("p", [step("a", "add"), step("b", "add", ["a"])]))
    held, results = [], []
    for round_ in range(40):
        leases = (here, there)[round_ % 2]
        if (lease := leases.claim(f"w{round_ % 2}")) is not None:
            held.append((leases, lease))
        if round_ % 4 == 3 and held:
            for leases, lease in held:
                try:
                    leases.finish(lease, lease.fence, StepLog(job.id, lease.step.name, lease.attempt, ""))
                    results.append((lease.step.name, lease.fence))
                except StaleLease:
                    pass
            held.clear()
        for clock in (right, wrong):
            clock.advance(60)
    found = Pipelines(database, right).get(job.id)
    assert (found.status, [s.state for s in found.steps]) == ("done", ["done", "done"])
    assert results == [("a", found.step("a").result), ("b", found.step("b").result)]
    assert [found.step(name).fence for name, _ in results] == [fence for _, fence in results]


def test_a_lease_that_runs_out_goes_to_whoever_asks(database: Database) -> None:
    clock = ManualClock()
    pipelines, leases = Pipelines(database, clock), Leases(database, lease_s=10.0, clock=clock)
    pipelines.start(Pipeline("p", [step("a", "add")]))
    first = leases.claim("w1")
    assert first is not None
    clock.advance(9)
    leases.extend(first)
    clock.advance(9)
    assert leases.claim("w2") is None
    clock.advance(2)
    second = leases.claim("w2")
    assert second is not None
    with pytest.raises(StaleLease):
        leases.extend(first)
