"""Capture of what a run prints: Python, the C code in it and its child processes, at the level of descriptors."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mainspring.client.capture import pump
from mainspring.client.capture.reading import kept_output
from mainspring.client.capture.watchers import HELPERS
from mainspring.client.entries import OUTPUT, OUTPUT_LOG
from mainspring.client.queueing import RunQueue
from mainspring.storage.durable import write_all
from mainspring.storage.objects.digests import digest_of

_DRAIN_S = 5.0
_KEEP_EVERY_S = 10.0
_KEEP_SHARE = 0.01
_KEEP_BYTES_PER_S = 2**16
_STREAMS = {1: "stdout", 2: "stderr"}


class _Taken:
    by: OutputWatcher | None = None
    lock = threading.Lock()


class OutputWatcher:
    """Has the output of this process, and of those that it starts, kept; one run of a process has it at a time."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._due, self._kept = self._began + _KEEP_EVERY_S, ""
        self._saved: dict[int, int] = {}
        self._pairs: list[tuple[int, int]] = []
        self._terminals: dict[int, int] = {}
        self._undo: list[Callable[[], None]] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    @classmethod
    def start(cls, queue: RunQueue) -> OutputWatcher | None:
        """Begin; None when another run has the output already, or it cannot be taken."""
        with _Taken.lock:
            if _Taken.by is not None:
                return None
            watcher = cls()
            try:
                watcher._begin(queue.folder / OUTPUT)
            except OSError:
                watcher._restore()
                return None
            _Taken.by = watcher
            return watcher

    def look(self, queue: RunQueue) -> None:
        """See that what passes the output on is still there, and as wide as the terminal."""
        if self._process is not None and self._process.poll() is not None:
            self._restore()
        if time.monotonic() >= self._due:
            self._keep(queue)
        for stream, terminal in self._terminals.items():
            _copy_size(self._saved.get(stream, -1), terminal)

    def finish(self, queue: RunQueue) -> None:
        """Give the output back and keep what there was as an artifact."""
        self._restore()
        self._keep(queue)

    def _keep(self, queue: RunQueue) -> None:
        """Make what there is the artifact, if there is more than before; the more there is, the less often."""
        text = kept_output(queue.folder / OUTPUT)
        if digest_of(text) != self._kept and text:
            queue.keep_bytes(OUTPUT_LOG, text)
            self._kept = digest_of(text)
        passed = time.monotonic() - self._began
        self._due = time.monotonic() + max(_KEEP_EVERY_S, _KEEP_SHARE * passed, len(text) / _KEEP_BYTES_PER_S)

    def _begin(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        pairs: list[tuple[int, int]] = []
        writers: dict[int, int] = {}
        for stream, name in _STREAMS.items():
            if not _is_open(stream):
                continue
            self._saved[stream] = os.dup(stream)
            other = writers.get(1)
            if stream == 2 and other is not None and _same_file(self._saved[1], self._saved[2]):
                writers[2] = other  # One pipe keeps their order.
            else:
                source, writers[stream] = self._channel(stream)
                pairs.append((source, self._saved[stream]))
            python = getattr(sys, name, None)
            if python is not None and hasattr(python, "__dict__") and not _writes_to(python, stream):
                source, writer = os.pipe()
                pairs.append((source, -1))
                self._tap(python, writer)
        self._spawn(folder, pairs)
        _flush()
        for stream, writer in writers.items():
            os.dup2(writer, stream, inheritable=True)
        for writer in set(writers.values()):
            os.close(writer)

    def _channel(self, stream: int) -> tuple[int, int]:
        """Give both ends of what takes the place of a stream: a terminal for a terminal, that colours stay."""
        if not os.isatty(stream):
            return os.pipe()
        source, writer = os.openpty()
        with suppress(termios.error):
            modes = termios.tcgetattr(stream)
            modes[1] &= ~termios.OPOST  # The true terminal does that.
            termios.tcsetattr(writer, termios.TCSANOW, modes)
        _copy_size(stream, writer)
        self._terminals[stream] = os.dup(writer)
        return source, writer

    def _tap(self, stream: Any, writer: int) -> None:
        """Also keep what is written to a stream of Python that is not that of the process, as in a notebook."""
        write = stream.write

        def tapped(text: str) -> Any:
            with suppress(OSError, AttributeError):
                os.write(writer, text.encode(errors="replace"))
            return write(text)

        def undo() -> None:
            if stream.__dict__.get("write") is tapped:
                del stream.write
            os.close(writer)

        try:
            stream.write = tapped
        except AttributeError:  # It lets nobody in.
            os.close(writer)
            return
        self._undo.append(undo)

    def _spawn(self, folder: Path, pairs: list[tuple[int, int]]) -> None:
        ours, theirs = socket.socketpair()
        passed = [number for pair in pairs for number in pair if number >= 0]
        command = [sys.executable, "-I", "-S", str(pump.__file__), str(folder.absolute())]
        command += [f"{source}:{target}" for source, target in pairs]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=passed,
                start_new_session=True,
                cwd="/",
            )
        finally:
            theirs.close()
            self._pairs = pairs
        self._control = ours
        HELPERS.add(self._process.pid)

    def _restore(self) -> None:
        """Let the streams be what they were."""
        _flush()
        for stream, saved in self._saved.items():
            os.dup2(saved, stream, inheritable=True)
        for terminal in self._terminals.values():
            os.close(terminal)
        for undo in self._undo:
            undo()
        self._drain()
        for number in {*(source for source, _ in self._pairs), *self._saved.values()}:
            os.close(number)
        self._saved, self._terminals, self._pairs, self._undo = {}, {}, [], []
        if _Taken.by is self:
            _Taken.by = None

    def _drain(self) -> None:
        """Wait until all that was printed has been passed on and kept."""
        control, process = self._control, self._process
        self._control = self._process = None
        if control is None or process is None:
            return
        with control, suppress(OSError):
            control.shutdown(socket.SHUT_WR)
            select.select([control], [], [], _DRAIN_S)
        if process.poll() is None:
            # It goes on for children of this program that have the streams open.
            threading.Thread(target=process.wait, name="run-output", daemon=True).start()
            return
        # It was killed: a write that waits for room, here or in a child, must not fail.
        for source, target in self._pairs:
            copies = os.dup(source), os.dup(target) if target >= 0 else -1
            threading.Thread(target=_pass_on, args=copies, name="run-output", daemon=True).start()


def _pass_on(source: int, target: int) -> None:
    with suppress(OSError):
        while data := os.read(source, 65536):
            if target >= 0:
                write_all(target, data)
    for number in (source, target):
        if number >= 0:
            os.close(number)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _same_file(one: int, other: int) -> bool:
    first, second = os.fstat(one), os.fstat(other)
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)


def _writes_to(stream: Any, number: int) -> bool:
    try:
        return bool(stream.fileno() == number)
    except (OSError, AttributeError, ValueError):
        return False


def _copy_size(source: int, target: int) -> None:
    with suppress(OSError):
        size = fcntl.ioctl(source, termios.TIOCGWINSZ, bytes(8))
        if fcntl.ioctl(target, termios.TIOCGWINSZ, bytes(8)) != size:
            fcntl.ioctl(target, termios.TIOCSWINSZ, size)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
