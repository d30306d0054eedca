"""What work costs a server, by the CPU of all its processes and by the clock, and the lines that compare it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import msgspec

from bench.report import Line, line
from bench.tracking.servers import Server

WINDOWS = 3
"""How often everything is measured; what else runs on the machine only disturbs, so the cheapest counts."""


class Cost(msgspec.Struct, frozen=True):
    """What something took: milliseconds of the CPU of all processes of the server, and by the clock."""

    cpu_ms: float
    wall_ms: float


def cost(server: Server, work: Callable[[], object], times: int = 1) -> Cost:
    """Do some work once; gives what each of the *times* things that it does costs.

    Without what the server uses when nobody asks: on a busy machine there is much time for that.
    """
    cpu, began = server.cpu_s(), time.perf_counter()
    work()
    took, used = time.perf_counter() - began, server.cpu_s() - cpu
    return Cost(1000 * max(0.0, used - server.idle_cpu_per_s * took) / times, 1000 * took / times)


def cheapest(costs: Sequence[Cost]) -> Cost:
    """Take the least of each number."""
    return Cost(min(one.cpu_ms for one in costs), min(one.wall_ms for one in costs))


def compared(
    work: str,
    ours: Cost,
    peer: str | None,
    theirs: Cost | None,
    *,
    cpu_goal_ms: float | None = None,
    wall_goal_ms: float | None = None,
) -> Iterator[Line]:
    """Give the line of the CPU and that of the clock."""
    yield line(f"{work}, CPU", ours.cpu_ms, "ms", peer=peer if theirs else None,
               peer_value=theirs.cpu_ms if theirs else None, goal=cpu_goal_ms)  # fmt: skip
    yield line(f"{work}, by the clock", ours.wall_ms, "ms", peer=peer if theirs else None,
               peer_value=theirs.wall_ms if theirs else None, goal=wall_goal_ms)  # fmt: skip
