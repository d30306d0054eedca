"""`mainspring up` in a process of its own: started, killed in parts or whole, and looked into from outside."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import psutil

from mainspring.client.session import Session, connect
from mainspring.core.errors import Unavailable
from mainspring.runtime.supervisor import ProcessState, read_states

READY_WITHIN_S = 60.0

T = TypeVar("T")


def eventually(found: Callable[[], T | None], told: Callable[[], object] | str = "", *, within_s: float = 30.0) -> T:
    """Wait until something is true, and give it."""
    deadline = time.monotonic() + within_s
    while not (value := found()):
        assert time.monotonic() < deadline, told() if callable(told) else told
        time.sleep(0.02)
    return value


def first_line(process: subprocess.Popen[bytes], within_s: float = READY_WITHIN_S) -> bytes:
    """The first line that a process prints; nothing when it ends before."""
    assert process.stdout is not None
    deadline, line = time.monotonic() + within_s, b""
    while not line.endswith(b"\n"):
        assert time.monotonic() < deadline, "no line came"
        if select.select([process.stdout], [], [], 0.5)[0]:
            part = os.read(process.stdout.fileno(), 65536)
            if not part:
                return b""
            line += part
    return line


class Up:
    """A platform on a home. Its ports stay the same when it is started again."""

    def __init__(self, home: Path, **settings: object) -> None:
        self.home = home
        self.variables = {f"MAINSPRING_{name.upper()}": str(value) for name, value in settings.items()}
        self.process: subprocess.Popen[bytes] | None = None
        self.ready: dict[str, Any] = {}
        self.session: Session | None = None

    def start(self, *more: str, environment: Mapping[str, str] | None = None) -> Up:
        """Start it and wait for its line."""
        self.reap()
        ports = [self.ready[plane].rpartition(":")[2] if self.ready else "0" for plane in ("control", "data")]
        command = [sys.executable, "-m", "mainspring", "up", "--json", "--home", str(self.home)]
        command += ["--port", ports[0], "--data-port", ports[1], *more]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **self.variables, **(environment or {})},
        )
        line = first_line(self.process)
        assert line, self._said()
        self.ready = msgspec.json.decode(line)
        if self.session is None:
            self.session = connect(self.ready["control"])
        return self

    def _said(self) -> str:
        assert self.process is not None and self.process.stderr is not None
        return self.process.stderr.read().decode()

    @property
    def data(self) -> str:
        """Where predictions are answered."""
        return str(self.ready["data"])

    def call(self, work: Callable[[Session], T], within_s: float = 60.0) -> T:
        """Do something that has no second effect, again while the control plane is down."""
        deadline = time.monotonic() + within_s
        while True:
            assert self.session is not None
            try:
                return work(self.session)
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def states(self) -> list[ProcessState]:
        """How the supervisor says that its processes stand."""
        with suppress(msgspec.DecodeError):
            return read_states(self.home / "run" / "processes.json")
        return []

    def pid(self, name: str) -> int | None:
        """The process of this name, None while there is none."""
        return next((state.pid for state in self.states() if state.name == name), None)

    def kill(self, victim: str) -> int | None:
        """Kill -9: ``supervisor``, a process by its name, or ``child`` for what runs the steps of ``worker-1``."""
        if victim == "supervisor":
            pid: int | None = int(self.ready["pid"])
        elif victim == "child":
            pid = self._child()
        else:
            pid = self.pid(victim)
        if pid is None:
            return None
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            return pid
        return None

    def _child(self) -> int | None:
        worker = self.pid("worker-1")
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(worker).children() if worker else []:
                if "mainspring.pipelines.child" in child.cmdline():
                    return int(child.pid)
        return None

    def processes(self) -> list[psutil.Process]:
        """Every process of this home, whoever its parent is now."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                if process.environ().get("MAINSPRING_HOME") == str(self.home) or str(self.home) in process.cmdline():
                    found.append(process)
        return [process for process in found if process.pid != os.getpid()]

    def stop(self) -> int:
        """SIGTERM, as `mainspring down` sends it; gives the exit status."""
        return self._end(signal.SIGTERM)

    def reap(self) -> None:
        """Take leave of a supervisor that was killed."""
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        process.send_signal(number)
        status = process.wait(60)
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()
        return status

    def close(self) -> None:
        """End whatever is left."""
        if self.session is not None:
            self.session.close()
            self.session = None
        self._end(signal.SIGKILL)
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()


def kill_one(home: Path, words: str) -> bool:
    """Kill -9 a process of the platform on *home* whose command line says *words*; False when there is none."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            command = " ".join(process.cmdline())
            # Others may run below these tests too.
            mine = str(home) in command or process.environ().get("MAINSPRING_HOME") == str(home)
            if mine and words in command and "guard.py" not in command:
                process.kill()
                return True
    return False
