"""A control plane in a process of its own, that can be killed and started again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx2

from tests.holds.running import eventually
from tests.servers import free_port

READY_WITHIN_S = 60.0


class Control:
    """A control plane on a home and a port of its own, which can be killed and started again."""

    def __init__(self, home: Path) -> None:
        self.home, self.port = home, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        variables = {**os.environ, "MAINSPRING_HOME": str(self.home), "MAINSPRING_PORT": str(self.port)}
        self._child = subprocess.Popen([sys.executable, "-m", "mainspring.planes.control"], env=variables)
        eventually(self._answers, within_s=READY_WITHIN_S)

    def kill(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait(30)

    def _answers(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/health").status_code == 200
        except httpx2.TransportError:
            return False
