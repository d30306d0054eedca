"""A training script with MLflow's own client, its own cost included, from the start of its Python to its end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.report import Line, line
from bench.tracking.servers import QUIET, Server

SCRIPT = Path(__file__).with_name("training_script.py")
_RUNS, _METRICS = 20, 1000
_CALLS = {"log_metric": "log_metric each", "log_metrics": "log_metrics of ten"}
_PARTS = {"log_metric": (0.25, 0.1), "log_metrics": (1.0, 0.5)}
"""How much of the work is done by ours and by the peer; it is the same over and over, and counts for the whole."""


def seconds(python: Path, server: Server, call: str, runs: int, part: float) -> float:
    """Give the seconds of a whole run of the script, of whose work only a *part* is done."""
    done = max(1, round(part * runs))
    command = [str(python), str(SCRIPT), server.url, call, str(done), str(_METRICS)]
    began = time.perf_counter()
    said = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **QUIET}, check=False)
    took = time.perf_counter() - began
    if said.returncode:
        raise SystemExit(f"the script ended with {said.returncode}: {said.stderr[-2000:]}")
    working = next(float(text.split()[1]) for text in said.stdout.splitlines() if text.startswith("seconds "))
    return took - working + working * runs / done


def judge(ours: Server, peer: Server | None, python: Path | None, share: float) -> Iterator[Line]:
    """Run the script against both sides, with the same client."""
    client, runs = python or Path(sys.executable), max(1, int(share * _RUNS))
    for call, told in _CALLS.items():
        part, of_peer = _PARTS[call]
        mine = min(seconds(client, ours, call, runs, part) for _ in range(2))
        theirs = seconds(client, peer, call, runs, of_peer) if peer else None
        yield line(f"script of {runs} runs x {_METRICS:,} metrics, {told}, by the clock", mine, "s",
                   peer=peer.name if peer else None, peer_value=theirs,
                   goal=theirs / 3 if theirs else None)  # fmt: skip
