"""Whether a process still lives: told by its number together with its start, for numbers are used again."""

from __future__ import annotations

import os
import subprocess
from functools import lru_cache

import msgspec


class Process(msgspec.Struct, frozen=True):
    """A process of this machine. ``started`` is opaque: the next process of the same number has another."""

    pid: int
    started: str


def this_process() -> Process:
    """Give the process that runs this."""
    return _of(os.getpid())


@lru_cache(maxsize=1)
def _of(pid: int) -> Process:
    return Process(pid, started_at(pid) or "")


def is_alive(process: Process) -> bool:
    """Tell whether this very process still runs (a zombie does not)."""
    return process.started != "" and started_at(process.pid) == process.started


def started_at(pid: int) -> str | None:
    """Give the start mark of the process with this number, None when there is none or it is a zombie.

    Linux: boot id and field 22 of ``/proc/PID/stat``. Elsewhere: what ``ps`` says.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - on the data plane's way; pathlib costs more
            # The name in parentheses may hold anything, so fields are counted after the last one.
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None if os.path.isdir("/proc/self") else _asked_of_ps(pid)  # noqa: PTH112
    return None if fields[0] in (b"Z", b"X") else f"{_boot()}:{fields[19].decode()}"


@lru_cache(maxsize=1)
def _boot() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123
        return file.read().strip()


def _asked_of_ps(pid: int) -> str | None:
    asked = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    state, _, started = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else started.strip()
