"""A model in a child process of its own, spoken to in framed msgpack over its pipes."""

from __future__ import annotations

import os
import select
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from mainspring.core.errors import InvalidData, InvalidRequest, MainspringError, Unavailable
from mainspring.registry.signature import Signature
from mainspring.serving.engine.checking import Layout, Output, Rows

FRAME = struct.Struct("<I")
START_LIMIT_S = 120.0
RUN_LIMIT_S = 60.0
FIRST_BACK_OFF_S = 0.5
LAST_BACK_OFF_S = 30.0
STEADY_S = 60.0
OFFLINE_ROWS = 8192


class Ask(msgspec.Struct, frozen=True):
    """One model run asked of the child: a list of values for each column."""

    columns: dict[str, list[Any]]
    rows: int


class Told(msgspec.Struct, frozen=True):
    """What the child answers: the outputs by name, or what failed. The first one only says that it is ready."""

    outputs: dict[str, list[Any]] = {}
    error: str | None = None


class ProcessSession:
    """A model that runs in a child without credentials; a child that died is started again, with a growing pause."""

    inline = False

    def __init__(self, folder: Path, signature: Signature, classes: list[str | int] | None = None) -> None:
        self.signature, self.layout = signature, Layout(signature)
        self._folder = folder.resolve()
        self._classes = classes
        self._lock = threading.Lock()
        self._home = tempfile.TemporaryDirectory(prefix="mainspring-model-")
        self._child: subprocess.Popen[bytes] | None = None
        self._pause_s = self._not_before = self._started = 0.0
        self._closed = False
        try:
            ready = self._start()
        except Unavailable:
            self.close()
            raise
        if ready.error is not None:
            self.close()
            raise InvalidData(f"the model at {folder} does not load: {ready.error}")
        self.outputs = [_described(name, classes) for name in ready.outputs]

    @property
    def pid(self) -> int | None:
        """The process id of the child, None while there is none."""
        return self._child.pid if self._child else None

    def run(self, parts: Sequence[Rows]) -> list[list[Any]]:
        """Run the model once over all parts.

        Raises MainspringError when the model fails on the input, Unavailable when the child died or takes too long.
        """
        rows = sum(part.rows for part in parts)
        if self.layout.matrix:
            width = self.layout.width
            flat = [value for part in parts for value in _plain(part.values)]
            columns = {self.layout.names[0]: [flat[at : at + width] for at in range(0, len(flat), width)]}
        else:
            columns = {
                name: [value for part in parts for value in part.values[at]]
                for at, name in enumerate(self.layout.names)
            }
        told = self._exchange(Ask(columns, rows))
        return [told.outputs[output.name] for output in self.outputs]

    def predict(self, columns: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Score whole columns, some thousand rows at a time."""
        names = self.layout.names
        missing = [name for name in names if name not in columns]
        if missing:
            raise InvalidRequest(f"columns {', '.join(missing)} are missing; expected {', '.join(names)}")
        listed = {name: _plain(columns[name]) for name in names}
        rows = len(listed[names[0]])
        told = [
            self._exchange(Ask({name: values[at : at + OFFLINE_ROWS] for name, values in listed.items()}, 0)).outputs
            for at in range(0, rows, OFFLINE_ROWS)
        ]
        return {output.name: np.array([value for one in told for value in one[output.name]]) for output in self.outputs}

    def close(self) -> None:
        """End the child and wait for it; a run in progress fails."""
        self._closed = True
        self._stop()
        self._home.cleanup()

    def _exchange(self, ask: Ask) -> Told:
        with self._lock:
            child = self._child
            if child is None or child.poll() is not None:
                self._again()
            try:
                self._write(msgspec.msgpack.encode(ask))
                told = self._read(RUN_LIMIT_S)
            except (OSError, EOFError) as died:
                self._back_off()
                raise Unavailable(f"the process of the model at {self._folder} ended: {died}; try again") from died
        if told.error is not None:
            raise MainspringError(f"the model failed on this input: {told.error}")
        return told

    def _again(self) -> None:
        if self._closed or time.monotonic() < self._not_before:
            raise Unavailable(f"the process of the model at {self._folder} is down; try again in a moment")
        ready = self._start()
        if ready.error is not None:
            self._back_off()
            raise Unavailable(f"the model at {self._folder} does not load any more: {ready.error}")

    def _back_off(self) -> None:
        self._stop()
        now = time.monotonic()
        # The first end is met at once; a child that ends again soon waits longer each time.
        if now - self._started > STEADY_S:
            self._pause_s = 0.0
        self._not_before = now + self._pause_s
        self._pause_s = min(LAST_BACK_OFF_S, max(FIRST_BACK_OFF_S, self._pause_s * 2))

    def _start(self) -> Told:
        self._started = time.monotonic()
        # The environment is made new, so that no credential of ours is within reach of the model's code.
        environment = {"PATH": os.defpath, "HOME": self._home.name, "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-P", "-m", "mainspring.serving.engine.child", str(self._folder), str(os.getpid())]
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=self._home.name, env=environment
        )
        try:
            self._write(msgspec.msgpack.encode(self._classes))
            return self._read(START_LIMIT_S)
        except (OSError, EOFError) as died:
            self._back_off()
            raise Unavailable(f"the process of the model at {self._folder} did not start: {died}") from died

    def _write(self, frame: bytes) -> None:
        assert self._child is not None and self._child.stdin is not None
        self._child.stdin.write(FRAME.pack(len(frame)) + frame)
        self._child.stdin.flush()

    def _read(self, limit_s: float) -> Told:
        until = time.monotonic() + limit_s
        (length,) = FRAME.unpack(self._bytes(FRAME.size, until))
        return msgspec.msgpack.decode(self._bytes(length, until), type=Told)

    def _bytes(self, count: int, until: float) -> bytes:
        assert self._child is not None and self._child.stdout is not None
        pipe, parts = self._child.stdout.fileno(), []
        poller = select.poll()
        poller.register(pipe, select.POLLIN | select.POLLHUP)
        while count:
            if not poller.poll(max(0.0, until - time.monotonic()) * 1000):
                raise TimeoutError("it did not answer in time")
            part = os.read(pipe, min(count, 1 << 20))
            if not part:
                raise EOFError("it closed its pipe")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def _stop(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        for pipe in (child.stdin, child.stdout):
            try:
                if pipe:
                    pipe.close()
            except BrokenPipeError:
                continue
        child.wait()


def _plain(values: Any) -> list[Any]:
    if isinstance(values, list):
        return values
    found = np.asarray(values)
    if found.dtype.kind == "M":
        found = found.astype("datetime64[ms]").astype("int64")
    listed: list[Any] = found.tolist()
    return listed


def _described(name: str, classes: list[str | int] | None) -> Output:
    if name == "probabilities":
        return Output(name, "FP64", [-1, len(classes) if classes else -1])
    if name == "label":
        whole = bool(classes) and all(isinstance(one, int) for one in classes or [])
        return Output(name, "INT64" if whole else "BYTES", [-1])
    return Output(name, "FP64", [-1])
