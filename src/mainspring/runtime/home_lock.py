"""One platform at a time runs on a home folder: a lock that the kernel gives back however its owner ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from mainspring.core.errors import Conflict, Unavailable

_RETRY_S = 0.5


class Owner(msgspec.Struct, frozen=True):
    """The process that runs on a home folder, and where it answers: ``{"control": URL, "data": URL}``."""

    pid: int
    urls: dict[str, str] = {}


class HomeLock:
    """Holds ``HOME/run/lock`` until it is closed or the process ends. Children do not inherit it."""

    def __init__(self, home: Path | str) -> None:
        """Take the lock. Raises Conflict that names the owner, Unavailable when the folder cannot be written."""
        path = _path(home)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise Unavailable(
                f"the home {home} cannot be written: {error.strerror}: choose another with --home", errno=error.errno
            ) from error
        try:
            self._take(home)
            self.describe({})
        except OSError as error:
            os.close(self._file)
            raise Unavailable(
                f"the home {home} cannot be locked: {error.strerror}: free some space, or choose one on a local disk "
                "with --home",
                errno=error.errno,
            ) from error

    def describe(self, urls: Mapping[str, str]) -> None:
        """Write down where the owner answers."""
        content = msgspec.json.encode(Owner(os.getpid(), dict(urls)))
        # Not replaced by a rename: the lock is on this very file.
        os.pwrite(self._file, content.ljust(512), 0)
        os.ftruncate(self._file, max(len(content), 512))

    def close(self) -> None:
        """Give the home free."""
        if self._file >= 0:
            os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> HomeLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, home: Path | str) -> None:
        deadline = time.monotonic() + _RETRY_S
        while True:
            try:
                return fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < deadline:
                    # Whoever asks for the owner holds the lock for an instant.
                    time.sleep(0.01)
                    continue
            owner = _read(self._file)
            os.close(self._file)
            self._file = -1
            pid = owner.pid if owner else "unknown"
            raise Conflict(
                f"Mainspring runs on {home} already (pid {pid}): "
                "stop it with `mainspring down`, or choose another --home",
                pid=pid,
                urls=owner.urls if owner else {},
            )


def home_owner(home: Path | str) -> Owner | None:
    """Give the process that holds the home now, None when nobody does."""
    try:
        file = os.open(_path(home), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        return _read(file)
    finally:
        os.close(file)


def _path(home: Path | str) -> Path:
    return Path(home) / "run" / "lock"


def _read(file: int) -> Owner | None:
    try:
        return msgspec.json.decode(os.pread(file, 65536, 0), type=Owner)
    except msgspec.MsgspecError:
        return None
