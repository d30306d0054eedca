"""``up``, ``down`` and ``status`` as processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import msgspec
import pytest

from mainspring.planes.up import Running
from tests.cli.conftest import Cli, command

Up = Callable[..., tuple[subprocess.Popen[bytes], Running]]


@pytest.fixture
def up(folder: Path) -> Iterator[Up]:
    """Start a platform on the default home, and wait until it says that it is ready."""
    children: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> tuple[subprocess.Popen[bytes], Running]:
        words = command("up", "--port", "0", "--data-port", "0", "--json", *options)
        child = subprocess.Popen(words, stdout=subprocess.PIPE, cwd=folder)
        children.append(child)
        assert child.stdout is not None
        return child, msgspec.json.decode(child.stdout.readline(), type=Running)

    yield start
    for child in children:
        child.terminate()
        child.wait(60)
        assert child.stdout is not None
        child.stdout.close()


def _processes(cli: Cli) -> dict[str, int]:
    return {process["name"]: process["pid"] for process in cli("status", "--json").json["processes"]}


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_once_it_says_so_everything_answers_and_sigterm_stops_everything(cli: Cli, up: Up, folder: Path) -> None:
    child, running = up()
    assert running.pid == child.pid
    assert running.home == str(folder / ".mainspring")
    assert httpx2.get(f"{running.control}/health").status_code == 200
    assert httpx2.get(f"{running.data}/v2/health/ready").status_code == 200
    processes = _processes(cli)
    assert set(processes) == {"control", "data-1", "worker-1"}
    child.send_signal(signal.SIGTERM)
    assert child.wait(60) == 0
    assert all(_is_gone(pid) for pid in processes.values())
    assert cli("status", "--json").json["running"] is False


def test_down_stops_it_from_elsewhere(cli: Cli, up: Up) -> None:
    child, running = up()
    assert cli("down", "--json").json == {"stopped": True, "pid": running.pid}
    assert child.wait(60) == 0


def test_down_where_nothing_runs_says_so(cli: Cli) -> None:
    assert cli("down", "--json").json["stopped"] is False


def test_one_home_has_one_platform(cli: Cli, up: Up) -> None:
    _, running = up()
    second = cli("up", "--port", "0", "--data-port", "0")
    assert second.code == 4
    assert f"pid {running.pid}" in second.err
    assert second.err.count("\n") == 1


def test_a_port_that_is_taken_is_named(cli: Cli) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = cli("up", "--port", port, "--data-port", "0")
    assert done.code == 4
    assert f"port {port}" in done.err
    assert "--port" in done.err


def test_only_loopback_is_served(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_HOST", "0.0.0.0")
    done = cli("up")
    assert done.code == 2
    assert "loopback" in done.err


def test_a_process_runs_on_while_its_uptime_is_shown(cli: Cli, up: Up) -> None:
    up()

    def uptime() -> float:
        return min(process["uptime_s"] for process in cli("status", "--json").json["processes"])

    first, deadline = uptime(), time.monotonic() + 10
    while uptime() <= first:
        assert time.monotonic() < deadline


def test_commands_find_the_platform_that_runs_on_the_home(cli: Cli, up: Up) -> None:
    _, running = up()
    Path("rows.csv").write_text("a\n1\n")
    assert cli("dataset", "import", "rows", "rows.csv").code == 0
    near, far = (
        cli("dataset", "get", "rows", "--json"),
        cli("dataset", "get", "rows", "--url", running.control, "--json"),
    )
    assert near.json == far.json
    wrong = cli("dataset", "get", "nope", "--url", running.control)
    assert (wrong.code, wrong.err.count("\n")) == (3, 1)
