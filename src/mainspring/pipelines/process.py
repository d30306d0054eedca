"""The worker's end of the child process in which steps run."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from mainspring.pipelines.messages import (
    Failed,
    Frames,
    KeepOn,
    Order,
    Progressed,
    RunStep,
    Succeeded,
    decode_told,
    encode,
    write_frame,
)
from mainspring.pipelines.output import Output
from mainspring.runtime.guard import guarded

Tick = Callable[[Progressed | None], None]
_PIECE_BYTES = 1 << 16
_END_WITHIN_S = 5.0


class Child:
    """A process that runs steps, one at a time; it is killed with whatever it started, and dies with this process."""

    def __init__(self, import_paths: Sequence[str] = ()) -> None:
        """Start it; the first step waits for its imports. Call this from the thread that calls `run`."""
        orders, self._orders = os.pipe()
        self._answers, answers = os.pipe()
        self._said, said = os.pipe()
        module = [sys.executable, "-m", "mainspring.pipelines.child", str(orders), str(answers), *import_paths]
        try:
            self._process = subprocess.Popen(
                guarded(module),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                pass_fds=(orders, answers),
                start_new_session=True,
            )
        finally:
            for descriptor in (orders, answers, said):
                os.close(descriptor)
        os.set_blocking(self._said, False)
        self._frames = Frames()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._answers, selectors.EVENT_READ)
        self._selector.register(self._said, selectors.EVENT_READ)

    @property
    def pid(self) -> int:
        """Give the number of the process."""
        return self._process.pid

    def run(self, order: RunStep, output: Output, tick: Tick, *, timeout_s: float, tick_s: float) -> Succeeded | Failed:
        """Run a step to its end, calling *tick* at least every *tick_s* with the newest progress.

        What the step writes goes to *output*. A step that takes longer than *timeout_s*, or whose process ends, has
        failed, and the child with it (`alive` tells). What *tick* raises comes through; then end the child.
        """
        deadline = time.monotonic() + timeout_s
        self._tell(order)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                self.kill()
                return _lost(f"the step took longer than its timeout of {timeout_s:g} s")
            progress: Progressed | None = None
            for key, _ in self._selector.select(min(tick_s, left)):
                if key.fd == self._said:
                    self._listen(output)
                    continue
                piece = os.read(self._answers, _PIECE_BYTES)
                if not piece:
                    return self._died(output)
                for told in map(decode_told, self._frames.feed(piece)):
                    if not isinstance(told, Progressed):
                        self._listen(output)
                        return told
                    progress = told
            tick(progress)

    def keep_on(self, lease_s: float) -> None:
        """Let the step that runs go on for *lease_s* from now; otherwise its process ends when its lease does."""
        self._tell(KeepOn(lease_s))

    def _tell(self, order: Order) -> None:
        with suppress(BrokenPipeError):  # It has died: `run` sees that.
            write_frame(self._orders, encode(order))

    @property
    def alive(self) -> bool:
        """Tell whether it can run another step."""
        if self._process.returncode is not None:
            return False
        if not hasattr(os, "waitid"):  # macOS before Python 3.13
            return self._process.poll() is None
        # Not reaped here: until `kill` the number of its process group must stay its own.
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None

    def kill(self) -> None:
        """End it with whatever it started; may be repeated."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            # It may hang in the kernel, on a disk that does not answer; there is nothing more to do about that.
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_WITHIN_S)

    def close(self) -> None:
        """End it and give everything back."""
        self.kill()
        self._selector.close()
        for descriptor in (self._orders, self._answers, self._said):
            with suppress(OSError):
                os.close(descriptor)

    def _listen(self, output: Output) -> None:
        """Take what was written. A background process of the step may hold the pipe open: do not wait for its end."""
        with suppress(BlockingIOError, KeyError):
            while piece := os.read(self._said, _PIECE_BYTES):
                output.add(piece)
            self._selector.unregister(self._said)

    def _died(self, output: Output) -> Failed:
        self.kill()
        self._listen(output)
        code = self._process.returncode
        if code is None:
            return _lost("the process of the step closed its pipes and cannot be ended")
        if code >= 0:
            return _lost(f"the step ended its process with exit status {code}")
        name = signal.Signals(-code).name
        hint = ": was there not enough memory?" if -code == signal.SIGKILL else ""
        return _lost(f"the process of the step was ended by {name}{hint}")


def _lost(error: str) -> Failed:
    return Failed(error, "", False, 0)
