"""Does the loop pay where tables drift, is it quiet where they do not, and how long does it take?

    python -m bench.loop [--seeds N] [--only NAME,NAME]

Every drifting table goes through `mainspring loop run` with all its processes; the peer of ``live`` is ``frozen``, the
first champion left alone. The steady tables are watched in this process, one seed after another.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from bench.loop.steady import watch
from bench.report import Line, line, report
from tests.loop import tables

_LIMIT_S = 900
_MOST_SECONDS = 180.0
_RUNS: dict[str, tuple[str, list[str]]] = {
    "electricity": ("class", ["--time", "date"]),
    "flip": ("class", []),
    "changed_unit": ("class", []),
    "rotating": ("class", []),
    "changing_coefficients": ("sold", ["--time", "at", "--label-delay", "1d"]),
}


def turned(name: str, frame: pl.DataFrame, target: str, options: list[str]) -> dict[str, Any]:
    """Run the command line on a table and give its document."""
    with tempfile.TemporaryDirectory(prefix="mainspring-bench-") as folder:
        data = Path(folder) / f"{name}.parquet"
        frame.write_parquet(data)
        command = [sys.executable, "-m", "mainspring", "loop", "run", "--data", str(data), "--target", target]
        command += ["--home", f"{folder}/home", "--json", *options]
        made = subprocess.run(command, capture_output=True, check=True, timeout=_LIMIT_S)
    return dict(msgspec.json.decode(made.stdout))


def drifting(name: str) -> list[Line]:
    """Measure one drifting table: how often the answers were wrong, live and frozen, and the seconds."""
    target, options = _RUNS[name]
    frame = tables.DRIFTING[name]()
    document = turned(name, frame, target, options)
    metric, better = document["metric"]["name"], document["metric"]["higher_is_better"]
    live, frozen = (1 - document[part] if better else document[part] for part in ("live", "frozen"))
    said = f"1 - {metric}" if better else metric
    shape = f"{name}, {frame.height} x {frame.width - 1}"
    counted = f"{len(document['retrainings'])} retrainings"
    low, high = document["difference_interval"]
    return [
        line(
            f"{shape}, {counted}, gain {low:.3f} to {high:.3f}",
            live,
            said,
            peer="frozen",
            peer_value=frozen,
            goal=frozen,
        ),
        line(f"{shape}: requests that failed", document["requests"]["failed"], "requests", goal=0),
        line(f"{shape}: time", document["seconds"], "s", goal=_MOST_SECONDS),
    ]


def steady(name: str, seeds: int) -> Line:
    """Count the seeds of a steady table in which a trigger fired."""
    fired = 0
    for seed in range(seeds):
        frame = tables.STEADY[name](seed=seed)
        fired += watch(frame, "class", time="at" if "at" in frame.columns else None, seed=seed).fired is not None
    return line(f"{name}, 6000 rows: seeds of {seeds} with a retraining", fired, "seeds", goal=seeds // 20)


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="bench.loop")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--only", default=",".join([*tables.DRIFTING, *tables.STEADY]))
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    names = asked.only.split(",")
    lines = [one for name in names if name in tables.DRIFTING for one in drifting(name)]
    lines += [steady(name, asked.seeds) for name in names if name in tables.STEADY]
    return 0 if report("loop", lines) else 1


if __name__ == "__main__":
    sys.exit(main())
