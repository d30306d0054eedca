"""What people look at: searches, pages, histories, charts, lists of artifacts; on databases that were filled before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from bench.report import Line
from bench.tracking import homes, servers
from bench.tracking.homes import FOLDER, HISTORY_KEY, Seeded, Sizes
from bench.tracking.measuring import WINDOWS, Cost, cheapest, compared, cost
from bench.tracking.servers import Server
from bench.tracking.wire import Connection, get, post

FIRST_PAGE = 100
"""What MLflow's console shows at first."""

PAGE = 1000
"""What its client asks for at a time."""

SLOW_MS = 5_000.0

TEN, HUNDRED = "ten-thousand", "a-hundred-thousand"
_SMALL, _LARGE = 10_000, 100_000
_HISTORY_PAGE = 25_000
_CHART_POINTS = 320


class _Page(msgspec.Struct):
    next_page_token: str = ""


class Reading(msgspec.Struct, frozen=True):
    """One kind of question. *ask* puts it and gives how much was found; *times* it is put in one window of ours."""

    work: str
    ask: Callable[[Connection, Seeded], int]
    times: int = 5
    cpu_goal_ms: float | None = None
    wall_goal_ms: float | None = None
    of_peer: bool = True


def _search(connection: Connection, experiment: str, limit: int, **more: Any) -> bytes:
    asked = {
        "experiment_ids": [experiment],
        "run_view_type": "ACTIVE_ONLY",
        "filter": "metrics.auc > 0.5",
        "max_results": limit,
        "order_by": ["metrics.auc DESC"],
    }
    return connection.ask(post("runs/search", asked | more))


def _found(answer: bytes) -> int:
    return answer.count(b'"run_uuid"')


def _first_page(name: str, limit: int) -> Callable[[Connection, Seeded], int]:
    return lambda connection, seeded: _found(_search(connection, seeded.experiments[name], limit))


def _newest(connection: Connection, seeded: Seeded) -> int:
    return _found(_search(connection, seeded.experiments[TEN], FIRST_PAGE, filter="", order_by=[]))


def _pages(connection: Connection, seeded: Seeded) -> int:
    found, more = 0, dict[str, str]()
    while True:
        answer = _search(connection, seeded.experiments[TEN], PAGE, filter="", order_by=["metrics.auc DESC"], **more)
        found += _found(answer)
        token = msgspec.json.decode(answer, type=_Page).next_page_token
        if not token:
            return found
        more = {"page_token": token}


def _history(connection: Connection, seeded: Seeded) -> int:
    asked: list[tuple[str, object]] = [("run_uuid", seeded.run), ("metric_key", HISTORY_KEY), ("run_id", seeded.run)]
    asked.append(("max_results", _HISTORY_PAGE))
    found, more = 0, list[tuple[str, object]]()
    while True:
        answer = connection.ask(get("metrics/get-history", asked + more))
        found += answer.count(b'"step"')
        token = msgspec.json.decode(answer, type=_Page).next_page_token
        if not token:
            return found
        more = [("page_token", token)]


def _chart(connection: Connection, seeded: Seeded) -> int:
    asked = [("run_ids", seeded.run), ("metric_key", HISTORY_KEY), ("max_results", _CHART_POINTS)]
    answer = connection.ask(get("metrics/get-history-bulk-interval", asked, base="/ajax-api/2.0/mlflow/"))
    return answer.count(b'"step"')


def _artifacts(connection: Connection, seeded: Seeded) -> int:
    folder = f"{next(iter(seeded.experiments.values()))}/{seeded.run}/artifacts/{FOLDER}"
    answer = connection.ask(get("artifacts", [("path", folder)], base="/api/2.0/mlflow-artifacts/"))
    return answer.count(b'"path"')


OPERATIONS = {
    "search": Reading("first 100 of 10,000 runs by metric, in its order", _first_page(TEN, FIRST_PAGE), 10, 25.0),
    "search1000": Reading("first 1,000 of 10,000 runs by metric, in its order", _first_page(TEN, PAGE)),
    "newest": Reading("newest 100 of 10,000 runs", _newest, 10),
    "page": Reading("page through 10,000 runs by 1,000", _pages, 1, wall_goal_ms=600.0),
    "history": Reading("history of 100,000 points", _history, 2, 60.0),
    "chart": Reading("chart of 320 of 100,000 points", _chart, 10, 5.0),
    "artifacts": Reading("list 10,000 artifacts of a run", _artifacts, 3, 50.0),
    "search100k": Reading(
        "first 100 of 100,000 runs by metric, in its order", _first_page(HUNDRED, FIRST_PAGE), 5, 150.0, of_peer=False
    ),
}


def measure(server: Server, seeded: Seeded, kind: Reading, times: int) -> tuple[Cost, int]:
    """Put a question some times, in windows; gives what it costs and how much was found."""
    found = 0

    def once() -> None:
        nonlocal found
        with Connection(server.port) as connection:
            found = kind.ask(connection, seeded)

    def often() -> None:
        with Connection(server.port) as connection:
            for _ in range(times):
                assert kind.ask(connection, seeded) == found

    first = cost(server, once)
    # What takes this long is not warmed up first: it says the same thing the first time.
    if first.wall_ms > SLOW_MS:
        return first, found
    return cheapest([cost(server, often, times) for _ in range(WINDOWS)]), found


def judge(folder: Path, python: Path | None, names: list[str], share: float) -> Iterator[Line]:
    """Fill a database for each side and ask both."""
    kinds = [OPERATIONS[name] for name in names]
    small, large = int(share * _SMALL), int(share * _LARGE)
    sizes = Sizes({TEN: small}, points=int(share * _LARGE), artifacts=small)
    whole = Sizes({TEN: small, HUNDRED: large}, sizes.points, small) if "search100k" in names else sizes
    theirs: dict[str, tuple[Cost, int]] = {}
    peer = None
    asked = [kind for kind in kinds if kind.of_peer]
    if python and asked:
        with servers.peer(python, folder / "peer", workers=1) as server:
            peer = server.name
            server.settle()
            seeded = homes.seed_peer(folder / "peer", sizes)
            theirs = {kind.work: measure(server, seeded, kind, 1) for kind in asked}
    (folder / "ours").mkdir(parents=True)
    seeded = homes.seed_ours(folder / "ours" / "home", whole)
    with servers.ours(folder / "ours") as server:
        server.settle()
        for kind in kinds:
            mine, found = measure(server, seeded, kind, kind.times)
            other, other_found = theirs.get(kind.work, (None, found))
            if found != other_found or not found:
                raise SystemExit(f"{kind.work}: ours found {found}, {peer} found {other_found}")
            goals = {"cpu_goal_ms": kind.cpu_goal_ms, "wall_goal_ms": kind.wall_goal_ms}
            yield from compared(kind.work, mine, peer, other, **goals)
