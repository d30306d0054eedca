"""What supervised processes print: one bounded file each, rotated while they write on."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_TAIL_BYTES = 2000


class ProcessLogs:
    """Files ``<folder>/<name>.log``, and as many older ones as are *kept*."""

    def __init__(self, folder: Path, *, max_bytes: int, kept: int) -> None:
        self._folder, self._max_bytes, self._kept = folder, max_bytes, kept

    def open(self, name: str) -> int:
        """Give a descriptor that a process may append to; the caller closes it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return os.open(self._file(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def last_words(self, name: str) -> str:
        """Give the end of what the process printed, as the end of a sentence."""
        log = self._file(name)
        tail = log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace").strip()
        return f"the end of {log}:\n{tail}" if tail else f"{log} is empty"

    def rotate(self, name: str) -> None:
        """Move what the process printed to an older file where it is too long."""
        log = self._file(name)
        try:
            if log.stat().st_size < self._max_bytes:
                return
            for number in range(self._kept - 1, 0, -1):
                with suppress(FileNotFoundError):
                    log.with_name(f"{log.name}.{number}").replace(log.with_name(f"{log.name}.{number + 1}"))
            # The process holds the file open for appending, so its content moves, not its name.
            with log.open("rb+") as source, log.with_name(f"{log.name}.1").open("wb") as target:
                while chunk := source.read(2**20):
                    target.write(chunk)
                source.truncate(0)
        except OSError:
            # A full disk must not take the supervisor down; the log goes on growing until there is room.
            return

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.log"
