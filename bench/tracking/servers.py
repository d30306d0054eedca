"""Both servers, each on a database of its own on SQLite, and what all their processes together cost."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import httpx2
import psutil

from mainspring.core.settings import Settings
from mainspring.planes.up import environment

HERE = Path(__file__).parent
PEER_PACKAGES = ["mlflow==3.*"]
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true"}
WITHIN_S = 600.0
BUSY_SHARE = 0.1
_CPU_CLOCK = 2


class Server:
    """A server that answers on a port; *ready_s* by the clock from its start on."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], port: int, ready_s: float) -> None:
        self.name, self.port, self.ready_s = name, port, ready_s
        self.idle_cpu_per_s = 0.0
        self._root = psutil.Process(process.pid)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def processes(self) -> list[psutil.Process]:
        """List its processes: the first, and all that it started."""
        return [self._root, *self._root.children(recursive=True)]

    def cpu_s(self) -> float:
        """Give the CPU time that its processes have used, user and system, threads that ended included."""
        total = 0.0
        for process in self.processes():
            with suppress(OSError):
                # The clock of another process, to the nanosecond: /proc counts in hundredths of a second.
                total += time.clock_gettime((~process.pid << 3) | _CPU_CLOCK)
        return total

    def settle(self) -> None:
        """Wait until it does nothing, and note what that costs; MLflow's server goes on starting after it is ready."""
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            before, began = self.cpu_s(), time.monotonic()
            time.sleep(1)
            self.idle_cpu_per_s = (self.cpu_s() - before) / (time.monotonic() - began)
            if self.idle_cpu_per_s < BUSY_SHARE:
                return

    def memory_mb(self) -> float:
        """Give the memory that its processes have in RAM; what they share counts once for each."""
        return float(sum(process.memory_info().rss for process in self.processes())) / 2**20


def peer_python() -> Path:
    """Give the Python of the peer's environment, which is made on the first run."""
    folder = HERE.parent / ".venvs" / "tracking"
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PEER_PACKAGES], check=True)
        ready.touch()
    return python


@cache
def peer_version(python: Path) -> str:
    """Give the version of MLflow in an environment."""
    code = "from importlib.metadata import version; print(version('mlflow'))"
    return subprocess.run([str(python), "-c", code], capture_output=True, check=True, text=True).stdout.strip()


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    name: str,
    command: list[str],
    port: int,
    folder: Path,
    ready: Callable[[], bool],
    variables: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Run a server until the block ends; what it says goes into ``said.txt`` in *folder*."""
    began, said = time.perf_counter(), folder / "said.txt"
    with said.open("wb") as file:
        given = {**os.environ, **QUIET, **(variables or {})}
        process = subprocess.Popen(command, cwd=folder, stdout=file, stderr=file, start_new_session=True, env=given)
    try:
        waited(ready, process, lambda: f"{name} does not start: {said.read_text()[-2000:]}")
        yield Server(name, process, port, time.perf_counter() - began)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def answers(url: str) -> bool:
    """Tell whether a URL answers 200."""
    try:
        return httpx2.get(url, timeout=5).status_code == 200
    except httpx2.TransportError:
        return False


def waited(true: Callable[[], bool], process: subprocess.Popen[bytes], told: Callable[[], str]) -> None:
    """Wait until something is true; stop the bench when it does not come, or the process ends before."""
    deadline = time.monotonic() + WITHIN_S
    while not true():
        if time.monotonic() > deadline or process.poll() is not None:
            raise SystemExit(told())
        time.sleep(0.005)


@contextmanager
def ours(folder: Path) -> Iterator[Server]:
    """Run ``mainspring up`` on ``folder/home``, with all its processes."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [sys.executable, "-m", "mainspring", "up", "--json", "--home", str(folder / "home")]
    command += ["--port", str(port), "--data-port", str(free_port())]
    # Its one line says that all its processes are ready.
    with running("mainspring up", command, port, folder, lambda: b"\n" in (folder / "said.txt").read_bytes()) as server:
        yield server


@contextmanager
def control(folder: Path) -> Iterator[Server]:
    """Run the control plane alone on ``folder/home``: what serves tracking, without serving models."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = Settings(home=str(folder / "home"), port=free_port())
    command = [sys.executable, "-m", "mainspring.planes.control"]
    url = f"http://127.0.0.1:{settings.port}/health"
    with running(
        "control plane", command, settings.port, folder, lambda: answers(url), environment(settings)
    ) as server:
        yield server


@contextmanager
def peer(python: Path, folder: Path, *, workers: int, jobs: bool = False) -> Iterator[Server]:
    """Run MLflow's server on ``folder/mlflow.db``; without *jobs* it has no processes for those."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [str(python.parent / "mlflow"), "server", "--port", str(port), "--workers", str(workers)]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    name = f"mlflow {peer_version(python)}, {workers} worker{'s' * (workers > 1)}"
    url, variables = f"http://127.0.0.1:{port}/health", {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": str(jobs).lower()}
    with running(name, command, port, folder, lambda: answers(url), variables) as server:
        yield server
