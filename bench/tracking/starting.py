"""How soon a server answers on a new home, and the memory that it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from bench.report import Line, line
from bench.tracking import servers
from bench.tracking.servers import Server

STARTS = 3


def started(start: Callable[[Path], AbstractContextManager[Server]], folder: Path, times: int) -> tuple[float, float]:
    """Start a server some times, each on a new home; gives the least seconds, and megabytes once it does nothing."""
    seconds, memory = [], []
    for number in range(times):
        with start(folder / str(number)) as server:
            seconds.append(server.ready_s)
            server.settle()
            memory.append(server.memory_mb())
    return min(seconds), min(memory)


def judge(folder: Path, python: Path | None) -> Iterator[Line]:
    """Start the control plane, the whole platform and MLflow's server."""
    control_s, control_mb = started(servers.control, folder / "control", STARTS)
    up_s, up_mb = started(servers.ours, folder / "up", STARTS)
    told = f"mlflow {servers.peer_version(python)}, 1 worker" if python else None
    peer_s, peer_mb = None, None
    if python:
        peer_s, peer_mb = started(lambda home: servers.peer(python, home, workers=1, jobs=True), folder / "peer", 1)
    yield line("control plane on a new home until it answers", control_s, "s", peer=told, peer_value=peer_s, goal=1.5)
    yield line("its memory when it does nothing", control_mb, "MB", peer=told, peer_value=peer_mb, goal=130.0)
    yield line("mainspring up on a new home until all is ready", up_s, "s", peer=told, peer_value=peer_s)
    yield line("memory of all its processes when they do nothing", up_mb, "MB", peer=told, peer_value=peer_mb)
