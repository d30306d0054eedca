"""One SQLite file with a million runs of twenty metrics, which the console must still be able to search."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench.report import Line, line
from bench.tracking import homes, servers
from bench.tracking.measuring import WINDOWS, cheapest, compared, cost
from bench.tracking.wire import Connection, Request, post

RUNS = 1_000_000
METRICS = tuple(f"metric-{number:02}" for number in range(20))
_GOAL_MS = 1_000.0
_QUESTIONS = {
    "newest 100 of {}": ("", []),
    "100 best of {} by metric": ("", ["metrics.`metric-07` DESC"]),
    "100 with a rare metric of {}, in its order": ("metrics.`metric-07` > 0.99999", ["metrics.`metric-07` DESC"]),
    "newest 100 of {} by metric and param": ("metrics.`metric-07` > 0.5 AND params.depth = '7'", []),
}


def judge(folder: Path, share: float) -> Iterator[Line]:
    """Fill a home and search it."""
    runs = int(share * RUNS)
    (folder / "ours").mkdir(parents=True)
    experiment = homes.seed_large(folder / "ours" / "home", runs, METRICS)
    with servers.ours(folder / "ours") as server:
        server.settle()
        for told, (where, order) in _QUESTIONS.items():
            asked = {"experiment_ids": [experiment], "filter": where, "max_results": 100, "order_by": order}
            request = post("runs/search", asked)
            costs = [cost(server, lambda request=request: _ask(server.port, request)) for _ in range(WINDOWS)]  # type: ignore[misc]
            work = told.format(f"{runs:,} runs x {len(METRICS)} metrics")
            yield from compared(work, cheapest(costs), None, None, wall_goal_ms=_GOAL_MS)
    size = (folder / "ours" / "home" / "mainspring.db").stat().st_size
    yield line(f"file of {runs:,} runs x {len(METRICS)} metrics", size / 2**20, "MB")


def _ask(port: int, request: Request) -> None:
    with Connection(port) as connection:
        assert b'"run_uuid"' in connection.ask(request)
