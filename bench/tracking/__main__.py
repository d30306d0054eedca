"""Tracking against MLflow's own server: ``python -m bench.tracking``; writes ``bench/results/tracking.json``.

Both run on SQLite with all that they start: ``mainspring up`` with its control plane, data plane and worker, and
``mlflow server`` with one worker and without its processes for jobs, which is the cheapest for it. CPU is that of all
processes of a server together, user and system, for each operation, without what they use when idle. The requests are
those of MLflow's Python client, sent from a plain socket, so its own cost is not in the numbers. Of several windows
the best counts, on both sides.

``--only create,metric`` measures some operations, ``--no-peer`` ours only, ``--quick`` a fiftieth of everything, and
``--large`` also a database of a million runs. Lines that were measured beside the peer, and not quickly, replace those
of the same work in the results.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.report import Line, report
from bench.tracking import files, hot, large, reading, script, servers, starting
from bench.tracking.servers import Server

CLIENTS, FILES, SCRIPT, START, LARGE = "clients", "files", "script", "start", "large"
QUICK = 0.02
OPERATIONS = [*hot.OPERATIONS, CLIENTS, *reading.OPERATIONS, FILES, SCRIPT, START]


def lines(folder: Path, names: list[str], python: Path | None, share: float) -> Iterator[Line]:
    """Measure what was asked for."""
    of_hot = [name for name in names if name in hot.OPERATIONS]
    if {*of_hot, FILES, SCRIPT} & {*names}:
        with _both(folder / "hot", python, workers=1) as (ours, peer):
            yield from hot.judge(ours, peer, of_hot, share)
            if FILES in names:
                yield from files.judge(ours, peer, folder / "hot", share)
            if SCRIPT in names:
                yield from script.judge(ours, peer, python, share)
    if CLIENTS in names:
        # Several clients are what several workers are for: MLflow's default is four.
        with _both(folder / CLIENTS, python, workers=4) as (ours, peer):
            yield from hot.judge_clients(ours, peer, folder, share)
    if of_reading := [name for name in names if name in reading.OPERATIONS]:
        yield from reading.judge(folder / "reading", python, of_reading, share)
    if START in names:
        yield from starting.judge(folder / "start", python)
    if LARGE in names:
        yield from large.judge(folder / "large", share)


@contextmanager
def _both(folder: Path, python: Path | None, workers: int) -> Iterator[tuple[Server, Server | None]]:
    with ExitStack() as stack:
        ours = stack.enter_context(servers.ours(folder / "ours"))
        peer = stack.enter_context(servers.peer(python, folder / "peer", workers=workers)) if python else None
        for server in filter(None, (ours, peer)):
            server.settle()
        yield ours, peer


def main(arguments: list[str] | None = None) -> int:
    """Run the bench; the exit status is 0 even when a goal is missed, because the report says so."""
    parser = argparse.ArgumentParser(prog="bench.tracking")
    parser.add_argument("--only", default=",".join(OPERATIONS), help=f"some of {','.join(OPERATIONS)}")
    parser.add_argument("--no-peer", action="store_true", help="measure ours only")
    parser.add_argument("--quick", action="store_true", help="a fiftieth of everything")
    parser.add_argument("--large", action="store_true", help="also a million runs: some minutes and 10 GB of disk")
    asked = parser.parse_args(arguments)
    names = [*asked.only.split(","), *([LARGE] if asked.large else [])]
    if unknown := sorted(set(names) - {*OPERATIONS, LARGE}):
        parser.error(f"--only {','.join(unknown)}: expected some of {', '.join(OPERATIONS)}")
    python = None if asked.no_peer else servers.peer_python()
    with tempfile.TemporaryDirectory(prefix="mainspring-bench-") as folder:
        found = []
        for one in lines(Path(folder), names, python, QUICK if asked.quick else 1.0):
            # The whole takes many minutes, most of them the peer's.
            print(f"{one.work}: {one.ours:,} {one.unit}", file=sys.stderr, flush=True)
            found.append(one)
    report("tracking", found, write=python is not None and not asked.quick, parts=True)
    return 0


if __name__ == "__main__":
    # Whoever ends the bench does not want its servers to stay.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    sys.exit(main())
