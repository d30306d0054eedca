"""Starts and their cost against MLflow: ``python -m bench.platform``; writes ``bench/results/platform.json``.

The times of the processor are those of the whole process tree, user and system; times by the clock say so. Of several
runs the best counts, on both sides, as what else runs on the machine only slows down. The floors are a Python that does
nothing, and one that only loads the model.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import msgspec
import psutil

from bench.report import Line, line, report
from bench.serving.__main__ import model_file
from mainspring.client.session import connect

HERE = Path(__file__).parent
PEER_PACKAGES = ["mlflow>=3.4,<3.18"]
ROUNDS = 5
STARTS = 3
WITHIN_S = 90.0


class Cost(msgspec.Struct, frozen=True):
    """What one run took: milliseconds of the processor and by the clock."""

    cpu_ms: float
    wall_ms: float


class Started(msgspec.Struct, frozen=True):
    """A server that became ready: seconds by the clock and of the processor, and the memory of its processes in MB."""

    ready_s: float
    cpu_s: float
    memory_mb: float


def peer_python() -> Path:
    """Give the Python of the peer's environment, which is made on the first run."""
    folder = HERE.parent / ".venvs" / "platform"
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PEER_PACKAGES], check=True)
        ready.touch()
    return python


def cost(command: list[str]) -> Cost:
    """Run a command some times; the best run counts."""
    runs = [_run(command) for _ in range(ROUNDS)]
    return Cost(min(run.cpu_ms for run in runs), min(run.wall_ms for run in runs))


def _run(command: list[str]) -> Cost:
    began = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
    return Cost(1000 * (usage.ru_utime + usage.ru_stime), 1000 * wall)


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def tree(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """List a process with all that it started."""
    root = psutil.Process(process.pid)
    return [root, *root.children(recursive=True)]


def memory_mb(processes: list[psutil.Process]) -> float:
    """Give the memory that processes have in RAM; what they share counts once for each."""
    return float(sum(process.memory_info().rss for process in processes)) / 2**20


def answers(url: str) -> bool:
    """Tell whether a URL answers 200."""
    try:
        return httpx2.get(url, timeout=5).status_code == 200
    except httpx2.TransportError:
        return False


def waited(true: Callable[[], bool]) -> float:
    """Wait until something is true; gives the seconds that it took."""
    began = time.perf_counter()
    while not true():
        if time.perf_counter() - began > WITHIN_S:
            raise SystemExit(f"nothing came within {WITHIN_S:g} s")
        time.sleep(0.005)
    return time.perf_counter() - began


@contextmanager
def running(command: list[str], ready: Callable[[subprocess.Popen[bytes]], bool], home: Path) -> Iterator[Started]:
    """Start a server and wait until it is ready; stop it after the block."""
    process = subprocess.Popen(
        command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        seconds = waited(lambda: ready(process))
        processes = tree(process)
        cpu = sum(sum(one.cpu_times()[:4]) for one in processes)
        yield Started(seconds, cpu, memory_mb(processes))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def start_ours(home: Path) -> Started:
    """Start the platform on a new home."""
    port, data = free_port(), free_port()
    command = [sys.executable, "-m", "mainspring", "up", "--json", "--home", str(home)]
    command += ["--port", str(port), "--data-port", str(data)]
    with running(command, _has_said_so, home) as started:
        return started


def _has_said_so(process: subprocess.Popen[bytes]) -> bool:
    assert process.stdout is not None
    return bool(process.stdout.readline())


def start_peer(python: Path, home: Path) -> Started:
    """Start MLflow's tracking server on a new SQLite file."""
    port = free_port()
    command = [str(python.parent / "mlflow"), "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{home / 'mlflow.db'}", "--artifacts-destination", str(home / "a")]
    with running(command, lambda process: answers(f"http://127.0.0.1:{port}/health"), home) as started:
        return started


def best(starts: list[Started]) -> Started:
    """Take the best of each number."""
    return Started(
        min(one.ready_s for one in starts), min(one.cpu_s for one in starts), min(one.memory_mb for one in starts)
    )


class Served(msgspec.Struct, frozen=True):
    """One platform that serves a model: memory of the data worker, and seconds until it is back from kill -9."""

    worker_mb: float
    data_back_s: float
    control_back_s: float
    stop_s: float


def serve_one(folder: Path, file: Path) -> Served:
    """Serve one ONNX model and ask it; then kill the data worker and the control plane, and stop."""
    home = folder / "served"
    command = [sys.executable, "-m", "mainspring", "up", "--json", "--home", str(home), "--port", "0"]
    up = subprocess.Popen([*command, "--data-port", "0"], stdout=subprocess.PIPE)
    assert up.stdout is not None
    ready = msgspec.json.decode(up.stdout.readline())
    url = f"{ready['data']}/endpoints/m/invocations"

    def predicts() -> bool:
        try:
            return httpx2.post(url, json={"instances": [[0.5] * 30]}, timeout=5).status_code == 200
        except httpx2.TransportError:
            return False

    with connect(ready["control"]) as session:
        version = session.import_model("m", file)
        session.releases.deploy("m", version.ref)
    waited(predicts)
    for _ in range(500):
        predicts()
    worker = _process(home, "data-1")
    memory = memory_mb([psutil.Process(worker)])
    os.kill(worker, signal.SIGKILL)
    data_back = waited(predicts)
    os.kill(_process(home, "control"), signal.SIGKILL)
    control_back = waited(lambda: answers(f"{ready['control']}/health"))
    began = time.perf_counter()
    up.send_signal(signal.SIGTERM)
    up.wait(60)
    up.stdout.close()
    return Served(memory, data_back, control_back, time.perf_counter() - began)


def _process(home: Path, name: str) -> int:
    states = msgspec.json.decode((home / "run" / "processes.json").read_bytes())
    pid: int = next(state["pid"] for state in states if state["name"] == name)
    return pid


def model_floor_mb(file: Path) -> float:
    """Memory of a Python that has loaded the model, and nothing else of ours."""
    code = (
        "import sys, numpy, onnxruntime as o, psutil\n"
        "options = o.SessionOptions(); options.intra_op_num_threads = 1\n"
        "session = o.InferenceSession(sys.argv[1], options)\n"
        "session.run(None, {'X': numpy.zeros((1, 30), 'float32')})\n"
        "print(psutil.Process().memory_info().rss / 2**20)\n"
    )
    return float(subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, check=True).stdout)


def judge(python: Path, folder: Path) -> list[Line]:
    """Measure, and make the lines of the report."""
    nothing = cost([sys.executable, "-c", "pass"])
    ours, theirs = cost([sys.executable, "-c", "import mainspring"]), cost([str(python), "-c", "import mlflow"])
    help_, their_help = (
        cost([str(Path(sys.executable).parent / "mainspring"), "--help"]),
        cost([str(python.parent / "mlflow"), "--help"]),
    )
    homes = iter(folder / f"home-{number}" for number in range(2 * STARTS))
    up, server = _starts(lambda home: start_ours(home), homes), _starts(lambda home: start_peer(python, home), homes)
    file = model_file(folder)
    served = serve_one(folder, file)
    named = "mlflow"
    return [
        line("import mainspring, CPU", ours.cpu_ms, "ms", peer=f"import {named}", peer_value=theirs.cpu_ms,
             floor=nothing.cpu_ms, goal=100.0),
        line("mainspring --help, by the clock", help_.wall_ms, "ms", peer=f"{named} --help",
             peer_value=their_help.wall_ms, floor=nothing.wall_ms, goal=300.0),
        line("up on a new home until all is ready, by the clock", up.ready_s, "s", peer=f"{named} server",
             peer_value=server.ready_s, goal=3.0),
        line("up on a new home until all is ready, CPU", up.cpu_s, "s", peer=f"{named} server",
             peer_value=server.cpu_s),
        line("memory of all its processes when it is ready", up.memory_mb, "MB", peer=f"{named} server, one worker",
             peer_value=server.memory_mb),
        line("memory of a data worker with one ONNX model, after 500 requests", served.worker_mb, "MB",
             floor=model_floor_mb(file), goal=90.0),
        line("kill -9 of the data worker until the next answer", served.data_back_s, "s"),
        line("kill -9 of the control plane until it is back", served.control_back_s, "s"),
        line("SIGTERM until everything has stopped", served.stop_s, "s"),
    ]  # fmt: skip


def _starts(start: Callable[[Path], Started], homes: Iterator[Path]) -> Started:
    started = []
    for _ in range(STARTS):
        home = next(homes)
        home.mkdir()
        started.append(start(home))
    return best(started)


def main() -> int:
    """Run the bench; the exit status is 0 even when a goal is missed, because the report says so."""
    python = peer_python()
    with tempfile.TemporaryDirectory(prefix="mainspring-bench-") as name:
        report("platform", judge(python, Path(name)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
