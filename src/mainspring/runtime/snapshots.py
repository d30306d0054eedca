"""Snapshots: one process publishes a whole state atomically, others watch for it and say when they have taken it in.

The folder holds ``<version>.snap`` files, ``current`` (the newest version, replaced by a rename) and ``applied/`` with
one file for each process that acknowledges. A snapshot file is

    8s magic "MSSNAP01" | u64 version | u32 CRC-32 of version and payload | payload            (little-endian)
"""

from __future__ import annotations

import os
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from mainspring.core.errors import Corrupt, Unavailable
from mainspring.runtime.presence import Process, is_alive, this_process
from mainspring.storage.durable import replace_file

_HEADER = struct.Struct("<8sQI")
_MAGIC = b"MSSNAP01"
_SUFFIX = ".snap"
_CURRENT = "current"
_APPLIED = "applied"
_KEPT = 5
_POLL_S = 0.005


class Snapshot(msgspec.Struct, frozen=True):
    """A state as it was published; versions only grow."""

    version: int
    payload: bytes


class Applied(msgspec.Struct, frozen=True):
    """What a process that watches has taken in last."""

    worker: str
    version: int
    process: Process


class Publisher:
    """Publishes states into one folder. Only one process may publish at a time."""

    def __init__(self, folder: Path | str) -> None:
        """Open the folder, which is made where it is not there; raises Unavailable when it cannot be written."""
        self.folder = Path(folder)
        try:
            (self.folder / _APPLIED).mkdir(parents=True, exist_ok=True)
            for unfinished in self.folder.glob(".*.new"):
                unfinished.unlink(missing_ok=True)
        except OSError as error:
            raise _unavailable(self.folder, error) from error

    def publish(self, payload: bytes) -> int:
        """Make *payload* the current state, durably and whole; gives its version.

        Raises Unavailable when the disk is full or fails: the state before stays current.
        """
        try:
            versions = _versions(self.folder)
            version = max(_pointed(self.folder), *versions, 0) + 1
            replace_file(_file(self.folder, version), _pack(version, payload))
            replace_file(self.folder / _CURRENT, b"%d" % version, modified_ns=_distinct(version))
            for old in sorted([*versions, version])[:-_KEPT]:
                _file(self.folder, old).unlink(missing_ok=True)
        except OSError as error:
            raise _unavailable(self.folder, error) from error
        return version

    def applied(self) -> list[Applied]:
        """List what each living process has taken in; files of dead ones are swept away."""
        found = []
        for path, applied in _acknowledgements(self.folder):
            if is_alive(applied.process):
                found.append(applied)
            else:
                path.unlink(missing_ok=True)
        return sorted(found, key=lambda applied: applied.worker)

    def wait_applied(self, version: int, timeout_s: float) -> bool:
        """Wait until every living process that ever acknowledged has taken in *version* or a newer one.

        Gives False when the time is over before. A process that never acknowledged anything is not waited for.
        """
        deadline = time.monotonic() + timeout_s
        while any(applied.version < version for applied in self.applied()):
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
        return True


class Watcher:
    """Watches one folder for the newest whole state; it need not be there yet."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._pointer = self.folder / _CURRENT
        self._seen: tuple[int, int, int] | None = None
        self._current: Snapshot | None = None
        self.damage: list[Corrupt] = []
        """Snapshots that could not be read and were passed over for the one before, oldest first."""

    def current(self) -> Snapshot | None:
        """Give the newest state, None while nothing was ever published."""
        self.poll()
        return self._current

    def poll(self) -> Snapshot | None:
        """Give a state newer than the last one given, or None. Costs one ``stat`` while nothing changed.

        A broken newest file is passed over for the one before it (which is given when nothing was given yet), and
        added to ``damage``. Raises Corrupt when there are states but none of them can be read.
        """
        try:
            stat = self._pointer.stat()
        except FileNotFoundError:
            return None
        seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if seen == self._seen:
            return None
        newest = self._newest()
        self._seen = seen
        if newest is None or (self._current is not None and newest.version <= self._current.version):
            return None
        self._current = newest
        return newest

    def acknowledge(self, worker: str, version: int) -> None:
        """Say that this process serves *version* now. Raises Unavailable when that cannot be written."""
        applied = msgspec.json.encode(Applied(worker, version, this_process()))
        try:
            # Not durable on purpose: it speaks of a living process only.
            replace_file(self.folder / _APPLIED / f"{worker}.json", applied, durable=False)
        except OSError as error:
            raise _unavailable(self.folder, error) from error

    def _newest(self) -> Snapshot | None:
        broken: list[Corrupt] = []
        # A file newer than the pointer belongs to a publication that was never finished.
        newest = _pointed(self.folder) or max(_versions(self.folder), default=0)
        for version in sorted(_versions(self.folder), reverse=True):
            if version > newest:
                continue
            if self._current is not None and version <= self._current.version:
                break
            try:
                snapshot = _unpack(_file(self.folder, version), version)
            except FileNotFoundError:
                continue
            except Corrupt as error:
                broken.append(error)
                continue
            self.damage += reversed(broken)
            return snapshot
        self.damage += reversed(broken)
        if broken and self._current is None:
            raise Corrupt(f"no snapshot in {self.folder} can be read: publish the state again", folder=str(self.folder))
        return None


def _versions(folder: Path) -> list[int]:
    try:
        names = [entry.name for entry in os.scandir(folder)]
    except FileNotFoundError:
        return []
    return [int(name[: -len(_SUFFIX)]) for name in names if name.endswith(_SUFFIX) and name[: -len(_SUFFIX)].isdigit()]


def _pointed(folder: Path) -> int:
    try:
        return int((folder / _CURRENT).read_bytes())
    except (FileNotFoundError, ValueError):
        return 0


def _distinct(version: int) -> int:
    # Two publications within one tick of the file system's clock, the second in the inode of the one before the first,
    # would look alike to a watcher: so the nanoseconds of the pointer's time carry the version.
    return int(time.time()) * 1_000_000_000 + version % 1_000_000_000


def _file(folder: Path, version: int) -> Path:
    return folder / f"{version:020d}{_SUFFIX}"


def _checksum(version: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(version.to_bytes(8, "little")))


def _pack(version: int, payload: bytes) -> bytes:
    return _HEADER.pack(_MAGIC, version, _checksum(version, payload)) + payload


def _unpack(path: Path, version: int) -> Snapshot:
    data = path.read_bytes()
    if len(data) >= _HEADER.size:
        magic, written, checksum = _HEADER.unpack_from(data)
        payload = data[_HEADER.size :]
        if magic == _MAGIC and written == version and checksum == _checksum(version, payload):
            return Snapshot(version, payload)
    raise Corrupt(
        f"the snapshot {path} is not what was published: the one before it is used; publish again", version=version
    )


def _acknowledgements(folder: Path) -> Iterator[tuple[Path, Applied]]:
    for path in sorted((folder / _APPLIED).glob("*.json")):
        try:
            yield path, msgspec.json.decode(path.read_bytes(), type=Applied)
        except FileNotFoundError:
            continue
        except msgspec.MsgspecError:
            path.unlink(missing_ok=True)


def _unavailable(folder: Path, error: OSError) -> Unavailable:
    return Unavailable(
        f"the snapshots in {folder} cannot be written: {error.strerror}: free some space, or give this user the right",
        errno=error.errno,
    )
