"""A large artifact up and down, and once more: the same bytes take no more of the disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.report import Line, line
from bench.tracking.hot import new_experiment, new_run
from bench.tracking.measuring import WINDOWS, Cost, cheapest, compared, cost
from bench.tracking.servers import Server
from bench.tracking.wire import ARTIFACTS, Connection, get, put

_BYTES = 100 * 2**20
_MOST_AGAIN_MB = 1.0


class Moved(msgspec.Struct, frozen=True):
    """What it costs to send and to fetch a file, and the disk that it took when it was sent again."""

    up: Cost
    down: Cost
    again_mb: float


def disk_mb(folder: Path) -> float:
    """Give what the files of a folder take of the disk."""
    files = (Path(parent) / name for parent, _, names in os.walk(folder) for name in names)
    return sum(file.stat().st_blocks for file in files) * 512 / 2**20


def measure(server: Server, kept: Path, size: int) -> Moved:
    """Send and fetch files of *size* bytes, each with other bytes; *kept* is where the server keeps them."""
    with Connection(server.port) as connection:
        experiment = new_experiment(connection)
        folder = f"{experiment}/{new_run(connection, experiment)}/artifacts"
    up, down = [], []
    for number in range(WINDOWS):
        data = os.urandom(size)
        up.append(cost(server, lambda data=data, number=number: _send(server, f"{folder}/{number}.bin", data)))  # type: ignore[misc]
        down.append(cost(server, lambda data=data, number=number: _fetch(server, f"{folder}/{number}.bin", data)))  # type: ignore[misc]
    before = disk_mb(kept)
    _send(server, f"{folder}/again.bin", data)
    return Moved(cheapest(up), cheapest(down), disk_mb(kept) - before)


def _send(server: Server, path: str, data: bytes) -> None:
    with Connection(server.port) as connection:
        connection.ask(put(path, data))


def _fetch(server: Server, path: str, data: bytes) -> None:
    with Connection(server.port) as connection:
        # Compared, though it costs some milliseconds by the clock, on both sides.
        assert connection.ask(get(path, [], base=f"{ARTIFACTS}/")) == data


def judge(ours: Server, peer: Server | None, folder: Path, share: float) -> Iterator[Line]:
    """Measure both sides."""
    size = int(share * _BYTES)
    told, named = f"{size / 2**20:g} MB", peer.name if peer else None
    mine = measure(ours, folder / "ours" / "home", size)
    theirs = measure(peer, folder / "peer", size) if peer else None
    up, down = (theirs.up, theirs.down) if theirs else (None, None)
    for work, of_ours, of_peer in (("upload", mine.up, up), ("download", mine.down, down)):
        goal = of_peer.wall_ms if of_peer else None
        yield from compared(f"{work} an artifact of {told}", of_ours, named, of_peer, wall_goal_ms=goal)
    yield line(f"disk for the same {told} uploaded again", mine.again_mb, "MB", peer=named,
               peer_value=theirs.again_mb if theirs else None, goal=_MOST_AGAIN_MB)  # fmt: skip
