"""Passes on what a program prints, and keeps it: a process of its own, so that it never waits for the program's lock.

Run as ``python -I -S pump.py FOLDER MIRRORED...`` where MIRRORED is ``SOURCE:TARGET`` (what comes from one descriptor
goes to the other as it is; -1 for none). Lines are kept in numbered files in FOLDER, progress bars as they looked last.
It ends when nobody can write to its sources any more, or sooner when its standard input is closed for writing: then it
keeps what came until then, and answers. It imports nothing of Mainspring, to start within milliseconds.
"""

from __future__ import annotations

import os
import re
import select
import signal
import sys

SEGMENT_BYTES = 512 * 2**10
FIRST_SEGMENTS = 8
LAST_SEGMENTS = 7
MAX_LINE_BYTES = 64 * 2**10
_CHUNK_BYTES = 2**16
_ESCAPES = re.compile(rb"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\))")


class Lines:
    """Makes lines of what one source prints."""

    def __init__(self) -> None:
        self._rest = b""

    def add(self, data: bytes) -> bytes:
        """Give the lines that are complete now, each as a terminal shows it in the end."""
        *lines, rest = (self._rest + data).split(b"\n")
        if len(rest) > MAX_LINE_BYTES:
            shown = seen(rest) + (b"\r" if rest.endswith(b"\r") else b"")
            if len(shown) > MAX_LINE_BYTES:
                lines, rest = [*lines, rest], b""
            else:
                rest = shown
        self._rest = rest
        return b"".join(seen(line) + b"\n" for line in lines)

    def end(self) -> bytes:
        """Give the line that was not completed."""
        rest, self._rest = seen(self._rest), b""
        return rest + b"\n" if rest else b""


def seen(line: bytes) -> bytes:
    """Give what is left of a line that was written over again and again, without colours."""
    shown = line.rstrip(b"\r").rpartition(b"\r")[2]
    return _ESCAPES.sub(b"", shown)


class Kept:
    """Files of lines: the first and the last of them stay, what is between is dropped."""

    def __init__(self, folder: str) -> None:
        self._folder, self._number, self._size = folder, 0, 0
        self._file = self._open()

    def write(self, data: bytes) -> None:
        """Append lines. What cannot be written is lost: the program goes on."""
        try:
            if self._size and self._size + len(data) > SEGMENT_BYTES:
                os.close(self._file)
                self._number, self._size = self._number + 1, 0
                self._file = self._open()
                old = self._number - LAST_SEGMENTS
                if old >= FIRST_SEGMENTS:
                    os.unlink(self._path(old))  # noqa: PTH108
            self._size += os.write(self._file, data)
        except OSError:
            pass

    def _open(self) -> int:
        return os.open(self._path(self._number), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def _path(self, number: int) -> str:
        return os.path.join(self._folder, f"{number:06d}")  # noqa: PTH118 (pathlib takes longer to import)


def main(folder: str, pairs: list[tuple[int, int]]) -> None:
    """Pass on and keep until the end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    targets, lines = dict(pairs), {source: Lines() for source, _ in pairs}
    kept, control = Kept(folder), [0]
    while targets:
        ready, _, _ = select.select([*targets, *control], [], [])
        for source in ready:
            if source == 0 and targets:
                os.read(0, 1)
                _finish(targets, lines, kept)
                control = []
            elif source in targets:
                _pass_on(source, targets, lines, kept)
    _finish(targets, lines, kept)


def _pass_on(source: int, targets: dict[int, int], lines: dict[int, Lines], kept: Kept) -> bool:
    try:
        data = os.read(source, _CHUNK_BYTES)
    except OSError:  # A terminal that nobody has open any more.
        data = b""
    if not data:
        del targets[source]
        return False
    view = memoryview(data)
    while view and targets[source] >= 0:
        try:
            view = view[os.write(targets[source], view) :]
        except BlockingIOError:
            select.select([], [targets[source]], [], 1.0)
        except OSError:  # Nobody reads it: what is kept is all there is.
            targets[source] = -1
    if whole := lines[source].add(data):
        kept.write(whole)
    return True


def _finish(targets: dict[int, int], lines: dict[int, Lines], kept: Kept) -> None:
    """Take in what is there already, end the last lines and say so."""
    for source in list(targets):
        while select.select([source], [], [], 0)[0] and _pass_on(source, targets, lines, kept):
            pass
    for one in lines.values():
        kept.write(one.end())
    try:
        os.write(0, b"!")
    except OSError:
        pass


if __name__ == "__main__":
    main(sys.argv[1], [(int(a), int(b)) for a, b in (pair.split(":") for pair in sys.argv[2:])])
