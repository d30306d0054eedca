"""Serving against FastAPI: ``python -m bench.serving [--seconds 1.5]``; writes ``bench/results/serving.json``.

Both servers run one process pinned to one core and answer the same one-row requests to the same gradient boosting
model (100 trees, 30 numbers) over the Open Inference Protocol; the load generator has the other cores. Ours has
everything on: a canary, the check of the signature, and every prediction written to the log. The floor is what is left
without a server: decode the JSON, run the model on one batch of the same size, encode the answer.
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np

from bench.report import Line, line, report
from bench.serving.load import Load, drive
from mainspring.registry.signature import Signature
from mainspring.runtime.snapshots import Publisher
from mainspring.serving.engine.session import open_session
from mainspring.serving.model import Arm, EndpointState, ServingState, encode_state

HERE = Path(__file__).parent
PEER_PACKAGES = ["fastapi==0.*", "uvicorn==0.*", "uvloop", "httptools", "onnxruntime", "numpy"]
PEER = "FastAPI + uvicorn + onnxruntime"
ROUNDS = 3
WINDOWS = 3


def model_file(folder: Path) -> Path:
    """Train and convert the model: 100 trees over 30 numbers."""
    from skl2onnx import to_onnx
    from sklearn.ensemble import GradientBoostingClassifier

    values = np.random.default_rng(0).normal(size=(4000, 30)).astype(np.float32)
    truth = (values[:, 0] + values[:, 1] * values[:, 2] > 0).astype(int)
    model = GradientBoostingClassifier(n_estimators=100, max_depth=3, random_state=0).fit(values, truth)
    file = folder / "model.onnx"
    file.write_bytes(to_onnx(model, values[:1], options={"zipmap": False}).SerializeToString())
    return file


def bodies(count: int) -> list[bytes]:
    """Make the JSON of different one-row requests."""
    chance = random.Random(0)
    rows = [[round(chance.gauss(0, 1), 6) for _ in range(30)] for _ in range(count)]
    return [
        msgspec.json.encode(
            {"id": f"r{n}", "inputs": [{"name": "X", "shape": [1, 30], "datatype": "FP32", "data": row}]}
        )
        for n, row in enumerate(rows)
    ]


def requests(made: list[bytes]) -> list[bytes]:
    """Wrap bodies into whole requests, each of another user."""
    head = (
        b"POST /v2/models/churn/infer HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        b"x-user: user-%d\r\ncontent-length: %d\r\n\r\n"
    )
    return [head % (number, len(body)) + body for number, body in enumerate(made)]


def peer_python() -> Path:
    """Give the Python of the peer's environment, which is made on the first run."""
    folder = HERE.parent / ".venvs" / "serving"
    python = folder / "bin" / "python"
    ready = folder / "ready"
    if not ready.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PEER_PACKAGES], check=True)
        ready.touch()
    return python


def publish(home: Path, file: Path) -> None:
    """Publish one endpoint with a canary of a tenth."""
    signature: Signature = open_session(file).signature

    def arm(version: int) -> Arm:
        return Arm(
            release=f"release:churn@{version}",
            model=f"model:churn@{version}",
            digest=f"sha256:{version}",
            path=str(file),
            engine="onnx",
            signature=signature,
            task="binary",
        )

    state = EndpointState(name="churn", stable=arm(1), canary=arm(2), canary_share=0.1, salt="bench")
    Publisher(home / "snapshots").publish(encode_state(ServingState(version=1, endpoints=[state])))


@contextmanager
def server(command: list[str], port: int) -> Iterator[int]:
    """Run a server pinned to core 0 until it is no longer needed; gives its pid."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, preexec_fn=lambda: os.sched_setaffinity(0, {0}), cwd=HERE.parent.parent
    )
    try:
        _until_open(port, process)
        yield process.pid
    finally:
        process.terminate()
        process.wait(timeout=30)


def _until_open(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"the server did not start on port {port}; its exit status is {process.poll()}")


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def resident_mb(pid: int) -> float:
    """Give the memory that a process has in RAM."""
    for text in Path(f"/proc/{pid}/status").read_text().splitlines():
        if text.startswith("VmRSS:"):
            return int(text.split()[1]) / 1024
    raise SystemExit(f"process {pid} is gone")


def measure(command: list[str], port: int, made: list[bytes], seconds: float) -> tuple[dict[int, list[Load]], float]:
    """Load a server at 32 and at 256 connections; gives the loads, and the memory afterwards."""
    with server(command, port) as pid:
        loads = {
            n: [drive(port, made, connections=n, seconds=seconds, pid=pid) for _ in range(WINDOWS)] for n in (32, 256)
        }
        return loads, resident_mb(pid)


def floor_us(file: Path, made: list[bytes], batch: int) -> float:
    """Microseconds of CPU for one request without a server: decode, run the model on a batch, encode."""
    session = open_session(file)
    decode, encode = msgspec.json.Decoder().decode, msgspec.json.Encoder().encode
    rounds = max(1, 4096 // batch)
    began = time.thread_time()
    for turn in range(rounds):
        part = [decode(made[(turn * batch + n) % len(made)])["inputs"][0]["data"] for n in range(batch)]
        found = session.predict({"X": np.array(part, dtype=np.float32)})
        for probabilities in found["probabilities"].tolist():
            encode({"outputs": [{"name": "probabilities", "data": probabilities}]})
    return (time.thread_time() - began) / (rounds * batch) * 1e6


def judge(
    ours: dict[int, list[Load]], peer: dict[int, list[Load]], floors: dict[int, float], memory: float
) -> list[Line]:
    """Make the lines of the report; of all windows the best counts, on both sides, as what disturbs only slows down."""
    lines = []
    for count in (32, 256):
        we = min(ours[count], key=lambda load: load.cpu_us)
        they = min(peer[count], key=lambda load: load.cpu_us)
        our_p99 = min(load.percentile_ms(0.99) for load in ours[count])
        their_p99 = min(load.percentile_ms(0.99) for load in peer[count])
        at = f"one-row predictions at {count} connections"
        lines += [
            line(
                f"{at}, of one core", we.per_core, "requests/s", peer=PEER, peer_value=they.per_core,
                floor=1e6 / floors[count], goal=7 * they.per_core,
            ),
            line(
                f"{at}, CPU each", we.cpu_us, "us", peer=PEER, peer_value=they.cpu_us, floor=floors[count], goal=30.0
            ),
            line(f"{at}, 99th percentile", our_p99, "ms", peer=PEER, peer_value=their_p99, goal=their_p99),
            line(f"{at}, failed", float(sum(load.failed for load in ours[count])), "requests", goal=0.0),
        ]  # fmt: skip
    lines.append(line("memory of a worker with one ONNX model, after the load", memory, "MB", goal=90.0))
    return lines


def main() -> int:
    """Run the bench; the exit status is 0 even when a goal is missed, because the report says so."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=1.5)
    seconds: float = parser.parse_args().seconds
    python = peer_python()
    os.sched_setaffinity(0, os.sched_getaffinity(0) - {0} or {0})
    ours: dict[int, list[Load]] = {32: [], 256: []}
    peer: dict[int, list[Load]] = {32: [], 256: []}
    with tempfile.TemporaryDirectory(prefix="mainspring-bench-") as name:
        folder = Path(name)
        file, plain = model_file(folder), bodies(512)
        made = requests(plain)
        publish(folder / "home", file)
        memory = 0.0
        for _ in range(ROUNDS):
            port = free_port()
            command = [sys.executable, "-m", "mainspring.planes.data", "--home", str(folder / "home")]
            found, memory = measure([*command, "--port", str(port)], port, made, seconds)
            port = free_port()
            theirs, _ = measure([str(python), str(HERE / "peer.py"), str(file), str(port)], port, made, seconds)
            for count in (32, 256):
                ours[count] += found[count]
                peer[count] += theirs[count]
        floors = {count: floor_us(file, plain, count) for count in (32, 256)}
    report("serving", judge(ours, peer, floors, memory))
    return 0


if __name__ == "__main__":
    sys.exit(main())
