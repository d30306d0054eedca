"""Kill -9 of the tracking server while eight clients log to it: what was answered is there, and there once."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import psutil
import pytest

from mainspring.core.settings import Settings
from mainspring.planes.embedded import Platform
from mainspring.tracking.model import RunDetails
from tests.holds.running import Up, eventually
from tests.holds.writing import Book, Client, Point, Raw, Real, Write

ROUNDS = int(os.environ.get("HOLDS_ROUNDS", "1"))
"""Each has five kills: 10 make the fifty that must hold."""
KILLS = ("control", "control", "control", "control", "supervisor")
LONGEST_PAUSE_S = 1.0


@pytest.fixture
def up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Up]:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "6")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
    made = Up(tmp_path / "home", policy_interval_s=0)
    yield made
    made.close()


class Clients:
    """Eight of them: four send once, two again until there is an answer, and two are MLflow's own."""

    def __init__(self, url: str) -> None:
        made = httpx2.post(f"{url}/api/2.0/mlflow/experiments/create", json={"name": "killed"})
        experiment, host = made.json()["experiment_id"], url.removeprefix("http://")
        self._going = threading.Event()
        going = self._going.is_set
        callers = {
            **{f"once-{number}": Raw(host, experiment, going, again=False) for number in range(4)},
            **{f"again-{number}": Raw(host, experiment, going, again=True) for number in range(2)},
            **{f"mlflow-{number}": Real(url, experiment) for number in range(2)},
        }
        self.all = [Client(name, caller, going) for name, caller in callers.items()]

    def start(self) -> None:
        self._going.set()
        for client in self.all:
            client.start()

    def stop(self) -> None:
        self._going.clear()
        for client in self.all:
            client.join()

    @property
    def answers(self) -> int:
        return sum(client.answers for client in self.all)

    @property
    def books(self) -> list[Book]:
        return [book for client in self.all for book in client.books]

    def none_is_broken(self) -> None:
        for client in self.all:
            if client.broken is not None:
                raise client.broken


def kill(up: Up, clients: Clients, victim: str, after_s: float) -> None:
    """Kill while requests are under way, and wait until they are answered again."""
    before = clients.answers
    eventually(lambda: clients.answers > before + 20 or clients.none_is_broken(), "nothing is answered", within_s=60)
    threading.Event().wait(after_s)
    running = up.processes()
    eventually(lambda: up.kill(victim) is not None, f"there is no {victim} to kill")
    if victim == "supervisor":
        up.reap()
        _, alive = psutil.wait_procs(running, timeout=5)
        assert not alive
        up.start()


@pytest.mark.slow  # Five kills with a restart after each, under load, take some seconds; fifty take minutes.
@pytest.mark.timeout(120 + 180 * ROUNDS)
def test_what_was_answered_before_a_kill_is_there_once(up: Up) -> None:
    up.start()
    clients = Clients(up.ready["control"])
    chance = random.Random(ROUNDS)
    clients.start()
    try:
        for number in range(ROUNDS):
            for victim in KILLS:
                after_s = round(chance.uniform(0.0, LONGEST_PAUSE_S), 3)
                print(f"round {number}: kill {victim} after {after_s} s, {clients.answers} answers", flush=True)
                kill(up, clients, victim, after_s)
        before = clients.answers
        eventually(
            lambda: clients.answers > before + 20 or clients.none_is_broken(), "nothing is answered", within_s=60
        )
    finally:
        clients.stop()
    assert up.stop() == 0
    # Otherwise nothing was interrupted, and nothing proved.
    assert sum(client.failures for client in clients.all) >= 4 * len(KILLS) * ROUNDS
    with Platform(Settings(home=str(up.home))) as platform:
        assert isinstance(platform, Platform)
        counted = Counter(name for (name,) in _rows(platform, "SELECT name FROM runs"))
        for book in clients.books:
            assert counted[book.name] <= book.sent, book.name
            if book.id is not None:
                details = platform.tracking.get_run(book.id)
                assert details.run.name == book.name
                run_holds_what_was_answered(platform, details, book)
        assert set(counted) <= {book.name for book in clients.books}
        every_run_was_told_once(platform, clients.books)
    with sqlite3.connect(up.home / "mainspring.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def run_holds_what_was_answered(platform: Platform, details: RunDetails, book: Book) -> None:
    points = points_of(platform, details)
    assert max(Counter(points).values(), default=1) == 1
    there = set(points)
    sent = {point for write in book.writes for point in write.points}
    assert there <= sent
    for write in book.writes:
        whole = is_there(write, there, details)
        if write.answered:
            assert all(whole), (book.name, vars(write))
        if not write.end:
            assert all(whole) or not any(whole), (book.name, vars(write))
    for key in details.metrics:
        latest = max((point for point in points if point.key == key), key=lambda point: (point.step, point.at_ms))
        assert (details.metrics[key].value, details.metrics[key].step) == (latest.value, latest.step)


def is_there(write: Write, there: set[Point], details: RunDetails) -> list[bool]:
    """What of a request took effect."""
    if write.end:
        return [details.run.status == "finished"]
    return [
        *(point in there for point in write.points),
        *(details.params.get(key) == value for key, value in write.params.items()),
        *(details.tags.get(key) == value for key, value in write.tags.items()),
    ]


def points_of(platform: Platform, details: RunDetails) -> list[Point]:
    found = []
    for key in details.metrics:
        history = platform.tracking.metric_history(details.run.id, key)
        assert history.next_page is None
        for step, at_us, value in zip(history.steps, history.at_us, history.values, strict=True):
            assert isinstance(value, float)
            found.append(Point(key, value, at_us // 1000, step))
    return found


def every_run_was_told_once(platform: Platform, books: list[Book]) -> None:
    events = Counter(
        (kind, msgspec.json.decode(body)["run"])
        for kind, body in _rows(platform, "SELECT kind, body FROM events WHERE kind IN ('RunStarted', 'RunFinished')")
    )
    assert max(events.values()) == 1
    ids = [id for (id,) in _rows(platform, "SELECT id FROM runs")]
    assert {run for kind, run in events if kind == "RunStarted"} == {f"run:{id}" for id in ids}
    ended = {f"run:{book.id}" for book in books for write in book.writes if write.end and write.answered}
    assert ended <= {run for kind, run in events if kind == "RunFinished"}


def _rows(platform: Platform, query: str) -> list[Any]:
    with platform.database.read() as connection:
        return list(connection.exec_driver_sql(query))
