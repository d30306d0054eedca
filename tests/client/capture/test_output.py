"""What a run prints is kept whole, in order and within bounds, and nobody who reads it notices."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import mainspring
from mainspring.client.capture.pump import Lines
from mainspring.client.capture.reading import kept_output
from mainspring.client.session import Session
from tests.client.scripts import Script
from tests.holds.running import eventually

LEVELS = """
import os, subprocess, sys
import mainspring
run = mainspring.start_run("churn")
print("from python")
os.write(1, b"from C\\n")
subprocess.run(["sh", "-c", "echo from a child; echo an error >&2"])
for done in range(0, 101, 10):
    print(f"\\r\\033[32m{done} %\\033[0m", end="", file=sys.stderr, flush=True)
print(file=sys.stderr)
print("the last line", end="")
run.end()
print(" and what came after")
"""


def logged(folder: Path) -> str:
    """What the one run of the home in *folder* printed."""
    with mainspring.open(str(folder / ".mainspring")) as session:
        (found,) = session.tracking.search_runs(["churn"]).runs
        return output(session, found.run.id)


def output(session: Session, run: str) -> str:
    return session.tracking.read_artifact(run, "logs/output.log").decode()


def test_python_c_and_child_processes_are_kept_and_progress_bars_as_they_looked_last(tmp_path: Path) -> None:
    process = Script(tmp_path, capture="output").start(LEVELS)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out == "from python\nfrom C\nfrom a child\nthe last line and what came after\n"
    assert err.startswith("an error\n\n\033[32m0 %\033[0m\n\033[32m10 %")
    lines = logged(tmp_path).splitlines()
    assert [line for line in lines if "error" not in line and "%" not in line] == [
        "from python",
        "from C",
        "from a child",
        "the last line",
    ]
    assert [line for line in lines if "error" in line or "%" in line] == ["an error", "100 %"]


TERMINAL = """
import sys
import mainspring
with mainspring.start_run("churn") as run:
    print("tty", sys.stdout.isatty(), sys.stderr.isatty())
    print("err", file=sys.stderr)
    print("out")
"""


def test_a_terminal_stays_one_and_both_streams_keep_their_order(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    file = tmp_path / "script.py"
    file.write_text(TERMINAL)
    variables = Script(tmp_path, capture="output").variables
    process = subprocess.Popen([sys.executable, file], cwd=tmp_path, env=variables, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    while not shown.endswith(b"out\r\n"):
        shown += os.read(ours, 4096)
    assert process.wait(60) == 0
    os.close(ours)
    assert shown == b"tty True True\r\nerr\r\nout\r\n"
    assert logged(tmp_path) == "tty True True\nerr\nout\n"


MUCH = """
import mainspring
with mainspring.start_run("churn"):
    for number in range(200_000):
        print(f"{number:06d}", "x" * 90)
"""


def test_of_very_much_the_beginning_and_the_end_are_kept(tmp_path: Path) -> None:
    process = Script(tmp_path, capture="output").start(MUCH)
    out, _ = process.communicate(timeout=120)
    assert len(out.splitlines()) == 200_000
    kept = logged(tmp_path)
    assert len(kept) < 8 * 2**20
    lines = kept.splitlines()
    assert (lines[0][:6], lines[-1][:6]) == ("000000", "199999")
    assert sum("left out" in line for line in lines) == 1


KILLED = """
import os, signal, subprocess
import mainspring
run = mainspring.start_run("churn", mode="offline")
print("before the end")
subprocess.run(["echo", "from a child"])
os.write(1, b"half a line")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_printed_is_sent_with_the_rest(tmp_path: Path) -> None:
    script = Script(tmp_path, capture="output")
    process = script.start(KILLED, more={"PYTHONUNBUFFERED": "1"})
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    (folder,) = tmp_path.glob(".mainspring/offline/*.*/output")
    eventually(lambda: kept_output(folder).endswith(b"half a line\n"))
    subprocess.run([sys.executable, "-m", "mainspring", "sync"], cwd=tmp_path, env=script.variables, check=True)
    assert logged(tmp_path) == "before the end\nfrom a child\nhalf a line\n"


SURVIVES = """
import os, signal, sys, time
import psutil
import mainspring
with mainspring.start_run("churn"):
    print("one", flush=True)
    (pump,) = [child for child in psutil.Process().children() if "pump.py" in " ".join(child.cmdline())]
    pump.kill()
    for number in range(100_000):
        print("much to print", number, flush=True)
print("still there")
"""


def test_a_program_goes_on_when_what_keeps_its_output_dies(tmp_path: Path) -> None:
    lines = Script(tmp_path, capture="output").run(SURVIVES)
    assert lines[0] == "one"
    assert lines[-2:] == ["much to print 99999", "still there"]


REPLACED = """
import io, sys
import mainspring
class Cell(io.StringIO):
    pass
sys.stdout, real = Cell(), sys.stdout
with mainspring.start_run("churn") as run:
    print("in a notebook")
    other = mainspring.start_run("other")
    print("with two runs")
    other.end()
    print("and one again")
cell, sys.stdout = sys.stdout, real
print(cell.getvalue(), end="")
"""


def test_what_python_prints_elsewhere_is_kept_too_and_by_one_run_at_a_time(tmp_path: Path) -> None:
    lines = Script(tmp_path, capture="output").run(REPLACED)
    assert lines == ["in a notebook", "with two runs", "and one again"]
    assert logged(tmp_path).splitlines() == lines


@pytest.mark.parametrize(
    ("parts", "lines"),
    [
        ([b"a\nb", b"c\n"], b"a\nbc\n"),
        ([b"10 %\r", b"20 %\r", b"done\r\n"], b"done\n"),
        ([b"\x1b[1mbold\x1b[0m\n"], b"bold\n"),
        ([b"x" * 100_000 + b"\r", b"end\n"], b"x" * 100_000 + b"\nend\n"),
        ([b"1\r" * 100_000, b"end"], b"end\n"),
        ([b"windows\r\n"], b"windows\n"),
    ],
)
def test_a_line_is_what_a_terminal_shows_in_the_end(parts: list[bytes], lines: bytes) -> None:
    source = Lines()
    assert b"".join([*(source.add(part) for part in parts), source.end()]) == lines
