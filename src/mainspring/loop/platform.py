"""The running platform that a loop drives: started when it does not run, started again when it ends."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from mainspring.client.credentials import owner_token
from mainspring.client.session import Session, connect
from mainspring.core.errors import Unavailable
from mainspring.core.settings import Settings
from mainspring.runtime.guard import guarded
from mainspring.runtime.home_lock import home_owner

T = TypeVar("T")

_READY_WITHIN_S = 60.0
_PATIENCE_S = 90.0
_PAUSE_S = 0.1
_STARTS = 3


class _Ready(msgspec.Struct):
    control: str
    data: str
    home: str
    pid: int


class RunningPlatform:
    """`mainspring up` on a home folder, as a child of this process, or the one that runs there already."""

    def __init__(self, settings: Settings) -> None:
        """Start or find it. Raises Unavailable when it does not become ready."""
        self._settings = settings
        self.home = Path(settings.home).absolute()
        self._child: subprocess.Popen[bytes] | None = None
        self._session: Session | None = None
        self.restarts = 0
        self.control = self.data = ""
        self._ensure()

    @property
    def session(self) -> Session:
        """Give the session with the control plane."""
        assert self._session is not None
        return self._session

    def call(self, work: Callable[[Session], T]) -> T:
        """Do *work*, again and again while the platform is unavailable; it must have no effect that doubles.

        Raises Unavailable when it stays so for a minute and a half.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return work(self.session)
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_PAUSE_S)
            self._ensure()

    def revive(self) -> None:
        """Start the platform again when it has ended; nothing happens when it runs."""
        self._ensure()

    def close(self) -> None:
        """Stop what was started here; a platform that ran before goes on."""
        if self._session is not None:
            self._session.close()
        if self._child is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._child.send_signal(signal.SIGTERM)
        try:
            self._child.wait(self._settings.drain_timeout_s + 20)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        if self._child.stdout is not None:
            self._child.stdout.close()

    def _ensure(self) -> None:
        if self._child is not None and self._child.poll() is None:
            return
        owner = home_owner(self._settings.home)
        if owner is not None and owner.urls and self._child is None:
            self._use(owner.urls["control"], owner.urls["data"])
            return
        if self._child is not None:
            self.restarts += 1
        ready = self._started()
        self._use(ready.control, ready.data)

    def _use(self, control: str, data: str) -> None:
        if (control, data) == (self.control, self.data) and self._session is not None:
            return
        if self._session is not None:
            self._session.close()
        self.control, self.data = control, data
        token = self._settings.token or owner_token(self._settings.home)
        self._session = connect(control, token=token)

    def _started(self) -> _Ready:
        """Start it; another try is worth while when it was killed on its way up, or had been up before."""
        for _ in range(_STARTS - 1):
            try:
                return self._start()
            except Unavailable as error:
                if not self.control and error.facts.get("code") != -signal.SIGKILL:
                    raise
        return self._start()

    def _start(self) -> _Ready:
        # The loop itself decides when monitors, triggers and rollouts look: replayed time runs faster than the clock.
        variables = {"MAINSPRING_POLICY_INTERVAL_S": "0", "MAINSPRING_INGEST_INTERVAL_S": "0.1"}
        command = [
            sys.executable,
            "-m",
            "mainspring",
            "up",
            "--json",
            "--home",
            str(self.home),
        ]
        # The same ports as before, so that whoever talked to it goes on.
        for flag, url in (("--port", self.control), ("--data-port", self.data)):
            command += [flag, url.rpartition(":")[2] if url else "0"]
        if self._child is not None and self._child.stdout is not None:
            self._child.stdout.close()
        # Bound to this process: however the loop ends, what it started ends with it.
        self._child = subprocess.Popen(guarded(command), stdout=subprocess.PIPE, env={**os.environ, **variables})
        line = _first_line(self._child)
        if not line:
            code = self._child.wait()
            raise Unavailable(
                f"`mainspring up` did not start (exit code {code}); its message is above, logs are in the home",
                code=code,
            )
        return msgspec.json.decode(line, type=_Ready)


def _first_line(child: subprocess.Popen[bytes]) -> bytes:
    assert child.stdout is not None
    deadline, line = time.monotonic() + _READY_WITHIN_S, b""
    while not line.endswith(b"\n") and time.monotonic() < deadline:
        readable, _, _ = select.select([child.stdout], [], [], 0.5)
        if readable:
            part = os.read(child.stdout.fileno(), 65536)
            if not part:
                return b""
            line += part
    if not line.endswith(b"\n"):
        child.kill()
        return b""
    return line
