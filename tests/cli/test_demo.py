"""`mainspring demo`: what it leaves behind, and what not."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from pathlib import Path

import psutil
import pytest

from tests.cli.conftest import Cli, command
from tests.holds.running import eventually

ROWS = ("--rows", "600")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made; read again by this process, and by those that it starts."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def homes(temporary: Path) -> list[Path]:
    return sorted(temporary.glob("mainspring-demo-*"))


@pytest.mark.slow
def test_a_home_of_its_own_goes_when_it_ends_well(process: Cli, temporary: Path) -> None:
    """Slow: it turns the loop once."""
    done = process("demo", *ROWS, within_s=150)
    assert done.code == 0, done.err
    assert homes(temporary) == []
    assert "mainspring-demo-" not in done.out.partition("Next")[2]


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_ctrl_c_leaves_no_process_and_a_home_on_which_it_goes_on(temporary: Path, options: list[str]) -> None:
    """Slow: it starts a platform."""
    # A terminal sends Ctrl-C to the whole group.
    child = subprocess.Popen(
        command("demo", *ROWS, *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        eventually(lambda: any((home / "run" / "processes.json").exists() for home in homes(temporary)))
        eventually(lambda: len(psutil.Process(child.pid).children(recursive=True)) >= 3)
        below = psutil.Process(child.pid).children(recursive=True)
        os.killpg(child.pid, signal.SIGINT)
        _, said = child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode == 130
    _, alive = psutil.wait_procs(below, timeout=10)
    assert not alive
    (home,) = homes(temporary)
    assert said.decode().splitlines()[-1] == "interrupted"
    assert (f"demo --home {home}" in said.decode()) == (not options)


def test_a_number_of_rows_that_cannot_be_is_refused_before_anything_is_made(cli: Cli, temporary: Path) -> None:
    for number in ("0", "-5"):
        done = cli("demo", "--rows", number)
        assert (done.code, done.err.count("\n")) == (2, 1)
    assert homes(temporary) == []
