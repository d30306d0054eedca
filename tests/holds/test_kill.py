"""Whatever is killed, and whenever: nothing acknowledged is lost, nothing happens twice, and the jobs finish."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl
import psutil
import pytest

from mainspring.core.errors import Conflict, NotFound
from mainspring.core.refs import Ref
from mainspring.core.settings import Settings
from mainspring.loop.retraining import PIPELINE, Assembled, Plan, Released
from mainspring.pipelines.model import Job
from mainspring.planes.embedded import Platform
from mainspring.registry.gate_model import GatePolicy
from tests.holds.live import Traffic
from tests.holds.running import Up, eventually

NAME = "orders"
VICTIMS = ("control", "data-1", "worker-1", "child", "supervisor")
PHASES = (*(step.name for step in PIPELINE.steps), None)
"""A kill comes while a step of this name runs; None: whatever happens then."""
SEEDS = range(5)
KILLS_OF_EACH = 2
POINTS_THAT_MUST_HOLD = 50
UNDER_WAY_S = 0.5
"""An answer may still come just after the worker that gave it was killed."""
BACK_WITHIN_S = 15.0
PHASE_WITHIN_S = 5.0
SERVED_ON_WITHIN_S = 1.5
# A canary need not be better here: what matters is that there is one.
LENIENT = GatePolicy(margin=-1.0, min_rows=1, max_p99_ms=None, beat_baseline=False)


class Point(NamedTuple):
    """When to kill whom: so long after a step of this name was seen to run."""

    victim: str
    phase: str | None
    after_s: float


class Kill(NamedTuple):
    """One kill -9, and when."""

    at: float
    victim: str


def points(seed: int) -> list[Point]:
    """Each victim twice, each phase as often as the others, all in random order and at random moments."""
    chance = random.Random(seed)
    victims = list(VICTIMS) * KILLS_OF_EACH
    phases = [PHASES[(seed + number) % len(PHASES)] for number in range(len(victims))]
    chance.shuffle(victims)
    chance.shuffle(phases)
    longest = {"train": 2.0, None: 2.0}
    return [
        Point(victim, phase, round(chance.uniform(0.0, longest.get(phase, 0.3)), 3))
        for victim, phase in zip(victims, phases, strict=True)
    ]


def test_the_points_are_at_least_fifty_and_meet_every_process_in_every_phase_of_the_loop() -> None:
    found = [point for seed in SEEDS for point in points(seed)]
    assert len(found) >= POINTS_THAT_MUST_HOLD
    assert {victim: count for victim, count in Counter(point.victim for point in found).items() if count < 10} == {}
    assert {phase: count for phase, count in Counter(point.phase for point in found).items() if count < 6} == {}
    assert points(1) == points(1) != points(2)


def table(seed: int) -> pl.DataFrame:
    chance = np.random.default_rng(seed)
    number = chance.normal(size=600)
    frame = pl.DataFrame({"number": number, "noise": chance.normal(size=600), "kind": chance.choice(["x", "y"], 600)})
    return frame.with_columns(target=pl.Series(np.where(number + 0.3 * chance.normal(size=600) > 0, "yes", "no")))


class Work:
    """Turns of the loop one after another, in a thread: retrainings of one model, and first turns of others."""

    def __init__(self, up: Up, dataset: str) -> None:
        self.up, self.dataset = up, dataset
        self.jobs: list[str] = []
        self.failed: BaseException | None = None
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run, name="work")

    def turn(self, name: str) -> Job:
        """One turn of the pipeline, from its start to its end."""
        plan = Plan(name=name, target="target", dataset=self.dataset, recent=200, fewest_recent=24, gate=LENIENT)
        token = f"turn-{len(self.jobs)}"
        started = self.up.call(lambda s: s.pipelines.start(PIPELINE, msgspec.to_builtins(plan), token=token))
        self.jobs.append(started.id)

        def ended() -> Job | None:
            found = self.up.call(lambda s: s.pipelines.get(started.id))
            return None if found.status == "running" else found

        found = eventually(ended, lambda: f"{started.ref} does not end", within_s=170)
        assert found.status == "done", f"{found.status}: {found.error}"
        return found

    def running(self, phase: str | None) -> str | None:
        """Wait until a step of this name runs, unless it takes too long to come; gives the one that runs then."""
        deadline = time.monotonic() + PHASE_WITHIN_S
        while True:
            # The newest of all, though another thread may just have begun it.
            job = self.up.call(lambda s: s.pipelines.get(self.jobs[-1]))
            name = next((step.name for step in job.steps if step.state == "leased"), None)
            if phase in (None, name) or time.monotonic() > deadline:
                return name
            time.sleep(0.01)

    def start(self) -> None:
        self._thread.start()

    def finish(self) -> None:
        """End after the turn that is under way."""
        self._enough.set()
        self._thread.join(200)
        if self.failed is not None:
            raise self.failed

    def _run(self) -> None:
        try:
            number = 0
            while not self._enough.is_set():
                number += 1
                self.turn(NAME if number % 2 else f"{NAME}-{number}")
                self._abort_canary()
        except BaseException as error:  # Raised again in `finish`.
            self.failed = error

    def _abort_canary(self) -> None:
        while self.up.call(lambda s: [r for r in s.rollouts.active() if r.endpoint == NAME]):
            try:
                self.up.call(lambda s: s.rollouts.abort(NAME, reason="the next one comes"))
            except (Conflict, NotFound):  # It was ended meanwhile, or by a call whose answer was lost.
                continue


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    made = Up(tmp_path / "home", ingest_interval_s=0.1, policy_interval_s=0.5, lease_s=3, data_workers=1)
    yield made
    made.close()


def kill_all(up: Up, work: Work, seed: int) -> list[Kill]:
    """Kill at each of the points of *seed*; what failed prints how far it came."""
    kills: list[Kill] = []
    for point in points(seed):
        print(f"seed {seed}: {point}, {work.running(point.phase)}", flush=True)
        time.sleep(point.after_s)
        running = up.processes()
        victim = point.victim
        kills.append(eventually(lambda victim=victim: killed(up, victim), f"there is no {victim} to kill"))  # type: ignore[misc]
        if victim == "supervisor":
            up.reap()
            _, alive = psutil.wait_procs(running, timeout=5)
            assert not alive, f"orphans: {[process.cmdline() for process in alive]}"
            up.start()
    return kills


def killed(up: Up, victim: str) -> Kill | None:
    """Kill -9 if it is there; the time is that before it, as what it does breaks at once."""
    at = time.monotonic()
    return None if up.kill(victim) is None else Kill(at, victim)


@pytest.mark.slow  # Ten kills with a restart after each, under load, take half a minute.
@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", SEEDS)
def test_kills_at_random_moments_lose_nothing_and_repeat_nothing(up: Up, seed: int) -> None:
    up.start()
    frame = table(seed)
    dataset = up.call(lambda s: s.import_dataset(NAME, frame, check=False)).ref
    work = Work(up, dataset)
    work.turn(NAME)
    traffic = Traffic(up.data, NAME, frame.to_dicts())
    traffic.start()
    enough = 40  # Of them some are set aside for the gate.
    eventually(lambda: up.call(lambda s: s.predictions.log_counts(NAME)).labels >= enough, "no labels come")
    work.start()
    try:
        kills = kill_all(up, work, seed)
        work.finish()
    finally:
        traffic.stop()
    failures_are_outages_of_the_data_plane(traffic, kills)
    facts_are_taken_in(up, traffic)
    jobs = [up.call(lambda s, id=id: s.pipelines.get(id)) for id in work.jobs]  # type: ignore[misc]
    assert up.stop() == 0
    assert not up.processes()
    with Platform(Settings(home=str(up.home))) as session:
        assert isinstance(session, Platform)
        facts_are_there_once(session, traffic)
        steps_had_their_effect_once(session, jobs)


def failures_are_outages_of_the_data_plane(traffic: Traffic, kills: list[Kill]) -> None:
    """Only connections break, and only from a kill of the data worker (or of all) to the next answer."""
    down = [kill.at for kill in kills if kill.victim in ("data-1", "supervisor")]
    for failure in traffic.failures:
        assert not failure.what[0].isdigit(), failure
        answered = max((at for at in traffic.answers_at if at < failure.at), default=0.0)
        assert any(answered - UNDER_WAY_S <= at <= failure.at for at in down), (failure, answered, kills)
    for kill in kills:
        answered = min((at for at in traffic.answers_at if at > kill.at), default=float("inf"))
        if not any(kill.at - BACK_WITHIN_S <= at <= answered for at in down):
            assert answered - kill.at < SERVED_ON_WITHIN_S, kill


def facts_are_taken_in(up: Up, traffic: Traffic) -> None:
    acknowledged = sum(traffic.labels.values())

    def taken_in() -> bool:
        counts = up.call(lambda s: s.predictions.log_counts(NAME))
        return counts.predictions >= len(traffic.answered) and counts.labels >= acknowledged

    eventually(taken_in, lambda: f"{up.session and up.session.predictions.log_counts(NAME)}, {len(traffic.answered)}")


def facts_are_there_once(platform: Platform, traffic: Traffic) -> None:
    logged = Counter(platform.tables.read(f"log/{NAME}", columns=["prediction_id"])["prediction_id"])
    labelled = Counter(platform.tables.read(f"labels/{NAME}", columns=["prediction_id"])["prediction_id"])
    assert max(logged.values()) == 1
    assert max(labelled.values()) == 1
    assert set(traffic.answered) <= set(logged)
    acknowledged = {id for id, told in traffic.labels.items() if told}
    assert len(acknowledged) > 50
    assert acknowledged <= set(labelled) <= set(traffic.labels)
    assert platform.predictions.damages() == []


def steps_had_their_effect_once(platform: Platform, jobs: list[Job]) -> None:
    outcomes = [msgspec.convert(job.step("release").result, Released) for job in jobs]
    released = [outcome.release for outcome in outcomes if outcome.release]
    assert len(released) >= 2
    events = Counter(
        (kind, body.get("job"), body.get("step"))
        for kind, body in _events(platform)
        if kind in ("StepFinished", "JobFinished", "JobStarted")
    )
    assert max(events.values()) == 1
    assert sum(kind == "StepFinished" for kind, _, _ in events) == len(jobs) * len(PIPELINE.steps)
    kinds = Counter(kind for kind, _ in _events(platform))
    assert kinds["ModelRegistered"] == len(jobs)
    assert kinds["ReleaseCreated"] == len(set(released)) == len(released), kinds
    assert _count(platform, "gate_reports") == len(jobs)
    assert _count(platform, "monitor_references") == len(released)
    assert _count(platform, "releases") == len(released)
    assert _count(platform, "rollouts") == sum(outcome.rollout is not None for outcome in outcomes)
    assert _count(platform, "trainings") == len(jobs)
    assert _count(platform, "runs", "parent IS NULL") == len(jobs)
    trials = sum(len(job.step("train").result["trials"]) for job in jobs)
    assert _count(platform, "runs", "parent IS NOT NULL") == trials
    assert _count(platform, "runs", "status <> 'finished' AND status <> 'failed'") == 0
    for job in jobs:
        datasets_are_whole(platform, msgspec.convert(job.step("assemble").result, Assembled))
    made = {ref for job in jobs for ref in _assembled(job)}
    assert _count(platform, "dataset_versions", f"dataset <> '{NAME}'") == len(made)


def datasets_are_whole(platform: Platform, assembled: Assembled) -> None:
    for ref in (assembled.training, assembled.holdout):
        parsed = Ref.parse(ref)
        version = platform.datasets.resolve(ref)
        assert platform.datasets.read(parsed.name, parsed.version).height == version.rows


def _assembled(job: Job) -> list[str]:
    found = msgspec.convert(job.step("assemble").result, Assembled)
    return [found.training, found.holdout]


def _events(platform: Platform) -> list[tuple[str, dict[str, Any]]]:
    with platform.database.read() as connection:
        rows = connection.exec_driver_sql("SELECT kind, body FROM events ORDER BY id").all()
    return [(row.kind, msgspec.json.decode(row.body)) for row in rows]


def _count(platform: Platform, table: str, where: str = "TRUE") -> int:
    with platform.database.read() as connection:
        found: int = connection.exec_driver_sql(f"SELECT count(*) FROM {table} WHERE {where}").scalar_one()
        return found
