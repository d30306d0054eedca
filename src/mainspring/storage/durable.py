"""Writing to the disk so that a power cut leaves either the old or the new, never a part."""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path

_FULL_SYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)


def flush_file(file: int) -> None:
    """Make the content of an open file durable. On macOS only F_FULLFSYNC reaches past the drive's own cache."""
    if _FULL_SYNC is not None:
        fcntl.fcntl(file, _FULL_SYNC)
    else:
        os.fdatasync(file)


def flush_path(path: Path) -> None:
    """Make the content of a file durable, or the names in a folder."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if stat.S_ISDIR(os.fstat(file).st_mode):
            os.fsync(file)
        else:
            flush_file(file)
    finally:
        os.close(file)


def write_all(file: int, data: bytes) -> None:
    """Write every byte; raises OSError when a part may have been written."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def replace_file(path: Path, content: bytes, *, durable: bool = True, modified_ns: int | None = None) -> None:
    """Put *content* at *path* in one step, whatever was there; raises OSError and leaves the old one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            write_all(file, content)
            if modified_ns is not None:
                os.utime(file, ns=(modified_ns, modified_ns))
            if durable:
                flush_file(file)
        finally:
            os.close(file)
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    if durable:
        flush_path(path.parent)
