"""What training calls all the time: a run begins, a metric, a thousand metrics; one client, and four at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import count

import msgspec

from bench.report import Line, line
from bench.tracking.servers import Server
from bench.tracking.wire import Connection, Request, ask_all, ask_at_once, post

WINDOWS = 3
CLIENTS = 4
_BEGAN_MS = 1_790_000_000_000

_numbers = count(1)


class Cost(msgspec.Struct, frozen=True):
    """What one request took: milliseconds of the CPU of all processes of the server, and by the clock."""

    cpu_ms: float
    wall_ms: float


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
    """Send one client's requests in windows; the cheapest counts, as what else runs on the machine only disturbs."""
    costs = []
    ask_all(server.port, _made(server, kind, max(10, times // 10)))
    for _ in range(WINDOWS):
        requests = _made(server, kind, times)
        before = server.cpu_s()
        took = ask_all(server.port, requests)
        costs.append(Cost(1000 * (server.cpu_s() - before) / times, 1000 * took / times))
    return Cost(min(one.cpu_ms for one in costs), min(one.wall_ms for one in costs))


def _made(server: Server, kind: Hot, times: int) -> list[Request]:
    # A connection of its own, as servers close one that is idle for some seconds.
    with Connection(server.port) as connection:
        return kind.make(connection, times)


def at_once(server: Server, kind: Hot, times: int) -> float:
    """Let some clients send at the same time, each to a run of its own; gives the answers in a second."""
    found = []
    for _ in range(WINDOWS):
        of_clients = [_made(server, kind, times) for _ in range(CLIENTS)]
        found.append(CLIENTS * times / ask_at_once(server.port, of_clients))
    return max(found)


def judge(ours: Server, peer: Server | None, names: list[str], share: float) -> Iterator[Line]:
    """Measure operations on both servers, with a *share* of the requests."""
    for name in names:
        kind = OPERATIONS[name]
        mine = measure(ours, kind, max(2, int(share * kind.ours)))
        theirs = measure(peer, kind, max(2, int(share * kind.peer))) if peer else None
        told = peer.name if peer else None
        yield line(f"{kind.work}, CPU", mine.cpu_ms, "ms", peer=told,
                   peer_value=theirs.cpu_ms if theirs else None, goal=kind.goal_ms)  # fmt: skip
        yield line(f"{kind.work}, by the clock", mine.wall_ms, "ms", peer=told,
                   peer_value=theirs.wall_ms if theirs else None)  # fmt: skip
