"""A platform for the tests of clients: started once, emptied before each test, gone at the end."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from mainspring.core.errors import Unavailable
from mainspring.core.settings import Settings
from mainspring.planes.up import Running, environment

_STOP_WITHIN_S = 30.0


class Server:
    """A platform that runs: where it answers, and how it is emptied."""

    def __init__(self, running: Running) -> None:
        self.url = running.control
        """The control plane: our own API, and MLflow's (``MLFLOW_TRACKING_URI``)."""
        self.data_url = running.data
        """The data plane, which answers predictions."""
        self.home = Path(running.home)

    def reset(self) -> None:
        """Empty the platform."""
        request = urllib.request.Request(f"{self.url}/testing/reset", method="POST")
        urllib.request.urlopen(request, timeout=_STOP_WITHIN_S).close()


@contextmanager
def server(home: Path | str | None = None, settings: Mapping[str, object] | None = None) -> Iterator[Server]:
    """Run `mainspring up --testing` on free ports until the block ends.

    *home* is a folder without data; left out, it is a temporary one. *settings* are others than the defaults, by name:
    ``{"job_workers": 0}``. Variables and settings files of the machine do not count. Raises Unavailable with what was
    said when it does not start.

        @pytest.fixture(scope="session")
        def platform():
            with mainspring.testing.server() as running:
                yield running
    """
    with tempfile.TemporaryDirectory(prefix="mainspring-testing-") as folder:
        place = Path(home or Path(folder) / "home").absolute()
        chosen = msgspec.convert(
            {"home": str(place), "port": 0, "data_port": 0, **(settings or {})}, Settings, strict=False
        )
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAINSPRING_")}
        process = subprocess.Popen(
            [sys.executable, "-m", "mainspring", "up", "--testing", "--json"],
            env=inherited | environment(chosen),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None and process.stderr is not None
        with process.stdout, process.stderr:
            try:
                told = process.stdout.readline()
                if not told:
                    raise Unavailable(f"the platform did not start: {process.stderr.read().decode().strip()}")
                yield Server(msgspec.json.decode(told, type=Running))
            finally:
                _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
