"""What training calls all the time: a run begins, a metric, a thousand metrics; one client, and four at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import msgspec

from bench.report import Line, line
from bench.tracking.measuring import WINDOWS, Cost, cheapest, compared, cost
from bench.tracking.servers import Server
from bench.tracking.wire import Connection, Request, ask_all, ask_at_once, post

CLIENTS = 4
_BEGAN_MS = 1_790_000_000_000

_numbers = count(1)


class Hot(msgspec.Struct, frozen=True):
    """One kind of request. *make* gives the n requests of one client; *ours* and *peer* are how many one window has."""

    work: str
    goal_ms: float | None
    make: Callable[[Connection, int], list[Request]]
    ours: int
    peer: int


def new_experiment(connection: Connection) -> str:
    """Make an experiment; gives its id."""
    made = connection.call(post("experiments/create", {"name": f"bench-{next(_numbers)}-{time.time_ns()}"}))
    return str(made["experiment_id"])


def new_run(connection: Connection, experiment: str) -> str:
    """Make a run; gives its id."""
    return str(connection.call(_creation(experiment, 0))["run"]["info"]["run_id"])


def _creation(experiment: str, number: int) -> Request:
    tags = {"mlflow.user": "ada", "mlflow.source.name": "train.py", "mlflow.source.type": "LOCAL"}
    asked = {
        "experiment_id": experiment,
        "user_id": "ada",
        "start_time": _BEGAN_MS + number,
        "tags": [{"key": key, "value": value} for key, value in tags.items()],
    }
    return post("runs/create", asked)


def creations(connection: Connection, times: int) -> list[Request]:
    """Create runs as the fluent client does."""
    experiment = new_experiment(connection)
    return [_creation(experiment, number) for number in range(times)]


def metrics(connection: Connection, times: int) -> list[Request]:
    """Log one metric of one run, step by step."""
    run = new_run(connection, new_experiment(connection))
    return [
        post("runs/log-metric", {
            "run_uuid": run, "key": "loss", "value": 1 / (number + 1), "timestamp": _BEGAN_MS + number, "step": number,
            "run_id": run,
        })
        for number in range(times)
    ]  # fmt: skip


def batches(connection: Connection, times: int) -> list[Request]:
    """Log a hundred steps of ten metrics at once."""
    return _batches(connection, times, keys=10)


def wide_batches(connection: Connection, times: int) -> list[Request]:
    """Log one step of a thousand metrics at once."""
    return _batches(connection, times, keys=1000)


def _batches(connection: Connection, times: int, keys: int) -> list[Request]:
    run, steps = new_run(connection, new_experiment(connection)), 1000 // keys
    return [
        post("runs/log-batch", {
            "run_id": run,
            "metrics": [
                {"key": f"metric-{key}", "value": step / 7 + key, "timestamp": _BEGAN_MS + step, "step": step}
                for step in range(number * steps, (number + 1) * steps) for key in range(keys)
            ],
        })
        for number in range(times)
    ]  # fmt: skip


OPERATIONS = {
    "create": Hot("create a run", 0.15, creations, ours=1000, peer=100),
    "metric": Hot("log one metric", 0.09, metrics, ours=2000, peer=200),
    "batch": Hot("log a batch of 1,000 metrics (10 x 100 steps)", 3.0, batches, ours=60, peer=20),
    "wide": Hot("log a batch of 1,000 metrics (1,000 x 1 step)", None, wide_batches, ours=30, peer=10),
}


def measure(server: Server, kind: Hot, times: int) -> Cost:
    """Send one client's requests, in windows."""
    ask_all(server.port, _made(server, kind, max(10, times // 10)))
    return cheapest([_window(server, _made(server, kind, times)) for _ in range(WINDOWS)])


def _window(server: Server, requests: list[Request]) -> Cost:
    return cost(server, lambda: ask_all(server.port, requests), len(requests))


def _made(server: Server, kind: Hot, times: int) -> list[Request]:
    # A connection of its own, as servers close one that is idle for some seconds.
    with Connection(server.port) as connection:
        return kind.make(connection, times)


def judge(ours: Server, peer: Server | None, names: list[str], share: float) -> Iterator[Line]:
    """Measure operations on both servers, with a *share* of the requests."""
    for name in names:
        kind = OPERATIONS[name]
        mine = measure(ours, kind, max(2, int(share * kind.ours)))
        theirs = measure(peer, kind, max(2, int(share * kind.peer))) if peer else None
        yield from compared(kind.work, mine, peer.name if peer else None, theirs, cpu_goal_ms=kind.goal_ms)


def at_once(server: Server, share: float, times: int) -> float:
    """Let some clients log metrics at the same time, each to a run of its own; gives the answers in a second."""
    kind, times = OPERATIONS["metric"], max(2, int(share * times))
    found = []
    for _ in range(WINDOWS):
        of_clients = [_made(server, kind, times) for _ in range(CLIENTS)]
        found.append(CLIENTS * times / ask_at_once(server.port, of_clients))
    return max(found)


def syncs_per_s(folder: Path, times: int = 200) -> float:
    """Give how often in a second the disk makes four pages durable, written over others as a log is."""
    page = b"x" * 16_384
    with (folder / "synced").open("w+b", buffering=0) as file:
        file.write(64 * page)
        os.fsync(file.fileno())
        began = time.perf_counter()
        for number in range(times):
            os.pwrite(file.fileno(), page, number % 64 * len(page))
            os.fdatasync(file.fileno())
        return times / (time.perf_counter() - began)


def judge_clients(ours: Server, peer: Server | None, folder: Path, share: float) -> Iterator[Line]:
    """Measure several clients at once, beside what the disk can do."""
    mine = at_once(ours, share, 1000)
    syncs = syncs_per_s(folder)
    theirs = at_once(peer, share, 100) if peer else None
    # Of clients that wait for a sync, one begins it at once and the others share the next: two of four at a time.
    goal = min(CLIENTS / 2 * syncs, 1000 / 0.09)
    yield line(f"log one metric, {CLIENTS} clients at once; the floor is a sync of the disk", mine, "/s", floor=syncs,
               peer=peer.name if peer else None, peer_value=theirs, goal=goal)  # fmt: skip
