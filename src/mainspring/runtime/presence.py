"""Whether a process still lives: told by its number together with its start, for numbers are used again."""

from __future__ import annotations

import os
import subprocess
from functools import lru_cache
from pathlib import Path

import msgspec


class Process(msgspec.Struct, frozen=True):
    """A process of this machine. ``started`` is opaque: the next process of the same number has another.

    ``place`` tells machines, their boots, and containers apart: only within one can numbers be compared.
    """

    pid: int
    started: str
    place: str


def this_process() -> Process:
    """Give the process that runs this."""
    return _of(os.getpid())


@lru_cache(maxsize=1)
def _of(pid: int) -> Process:
    return Process(pid, started_at(pid) or "", _place())


def is_alive(process: Process) -> bool:
    """Tell whether this very process still runs here (a zombie does not, nor one of another place)."""
    return process.place == _place() and process.started != "" and started_at(process.pid) == process.started


def is_gone(process: Process) -> bool:
    """Tell whether it surely ended: False for a process of another place, of which nothing can be told."""
    return process.place == _place() and not is_alive(process)


def started_at(pid: int) -> str | None:
    """Give the start mark of the process with this number, None when there is none or it is a zombie.

    Linux: field 22 of ``/proc/PID/stat``, the clock ticks since the boot. Elsewhere: what ``ps`` says.
    """
    try:
        # The name in parentheses may hold anything, so fields are counted after the last one.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None if _has_proc() else _asked_of_ps(pid)
    return None if fields[0] in (b"Z", b"X") else fields[19].decode()


@lru_cache(maxsize=1)
def _has_proc() -> bool:
    return Path("/proc/self/stat").exists()


@lru_cache(maxsize=1)
def _place() -> str:
    if not _has_proc():
        return os.uname().nodename
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink()}"


def _asked_of_ps(pid: int) -> str | None:
    asked = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    state, _, started = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else started.strip()
