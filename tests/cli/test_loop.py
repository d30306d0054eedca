"""`mainspring loop run` as a process: interrupted, given again, and held to the schema of its document."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from mainspring.loop.model import LoopReport
from tests.cli.conftest import Cli, command
from tests.holds.running import eventually
from tests.loop import tables

RUN = ("loop", "run", "--data", "still.csv", "--target", "class", "--json")


class ExactReport(LoopReport, frozen=True, forbid_unknown_fields=True):
    """The document, and nothing that is not described."""


@pytest.mark.slow
def test_ctrl_c_leaves_no_process_and_the_same_command_goes_on_to_its_document(process: Cli, folder: Path) -> None:
    """Slow: a platform is started twice, and 360 requests are replayed."""
    tables.independent(600, seed=2).write_csv("still.csv")
    # A terminal sends Ctrl-C to the whole group.
    child = subprocess.Popen(
        command(*RUN), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder, start_new_session=True
    )
    try:
        eventually(lambda: list(folder.glob(".mainspring/loop/*/progress.json")), within_s=90)
        below = psutil.Process(child.pid).children(recursive=True)
        os.killpg(child.pid, signal.SIGINT)
        out, said = child.communicate(timeout=60)
    finally:
        child.kill()
    assert (child.returncode, out, said.strip()) == (130, b"", b"interrupted")
    assert below
    _, alive = psutil.wait_procs(below, timeout=10)
    assert not alive
    done = process(*RUN, within_s=120)
    assert (done.code, done.err) == (0, "")
    report = msgspec.json.decode(done.out, type=ExactReport)
    assert done.out.count("\n") == 1
    assert (report.name, report.requests.failed, report.requests.rows) == ("still", 0, 360)
    assert any("taken up again" in note for note in report.notes)
    assert shape(msgspec.json.decode(done.out)) == shape(msgspec.to_builtins(report))


def shape(value: Any) -> Any:
    """The names in a document, at every depth."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    return [shape(inner) for inner in value] if isinstance(value, list | tuple) else None
