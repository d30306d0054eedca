"""The child process that runs steps: ``python -m mainspring.pipelines.child ORDERS ANSWERS [FOLDER...]``.

ORDERS and ANSWERS are descriptors of pipes; each FOLDER is put on the import path. The process runs one step after
another, so that imports and the platform are paid for once, and ends when ORDERS closes.
"""

from __future__ import annotations

import os
import queue
import resource
import select
import signal
import sys
import threading
import time
import traceback
from importlib import import_module
from types import TracebackType
from typing import Any, NoReturn

import msgspec

from mainspring.core.actor import acting_as
from mainspring.core.errors import InvalidData, MainspringError
from mainspring.pipelines.context import StepContext
from mainspring.pipelines.messages import (
    MAX_RESULT_BYTES,
    Failed,
    Order,
    Progressed,
    RunStep,
    Succeeded,
    Told,
    decode_order,
    encode,
    read_frame,
    write_frame,
)

_MAX_ERROR_CHARS = 2_000
_MAX_TRACEBACK_CHARS = 64_000


def main(arguments: list[str]) -> int:
    """Run steps until there are no more orders; gives the exit status."""
    orders, answers = int(arguments[0]), int(arguments[1])
    for descriptor in (orders, answers):
        os.set_inheritable(descriptor, False)
    sys.path[:0] = arguments[2:]
    listener = _Listener(orders)
    threading.Thread(target=listener.run, name="orders", daemon=True).start()
    runner = _Runner(answers)
    while True:
        told = runner.run(listener.waiting.get())
        listener.expires = None
        runner.tell(told)


class _Listener:
    """Hears the worker, and ends this process when that is gone or the lease ran out: no step goes on without one."""

    def __init__(self, orders: int) -> None:
        self.waiting: queue.SimpleQueue[RunStep] = queue.SimpleQueue()
        self.expires: float | None = None
        self._orders = orders

    def run(self) -> None:
        while True:
            expires = self.expires
            left = None if expires is None else max(expires - time.monotonic(), 0.0)
            ready, _, _ = select.select([self._orders], [], [], left)
            if not ready:
                # The worker hangs, or was stopped; by now another may run this step. A step that ended in between
                # has cleared the time.
                if self.expires == expires:
                    _end("the lease ran out and the worker did not extend it")
                continue
            frame = read_frame(self._orders)
            if frame is None:
                _end("the worker is gone")
            self._take(decode_order(frame))

    def _take(self, order: Order) -> None:
        if isinstance(order, RunStep):
            self.expires = time.monotonic() + order.lease_s
            self.waiting.put(order)
        elif self.expires is not None:
            self.expires = time.monotonic() + order.lease_s


def _end(why: str) -> NoReturn:
    """End at once, with everything that the step started: nothing is unwound."""
    os.write(2, f"[child ended: {why}]\n".encode())
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


class _Runner:
    """Runs steps, and keeps the platform open between them."""

    def __init__(self, answers: int) -> None:
        self._answers = answers
        self._lock = threading.Lock()
        self._platform: Any = None

    def tell(self, told: Told) -> None:
        # Progress may come from a thread of the step.
        with self._lock:
            write_frame(self._answers, encode(told))

    def run(self, order: RunStep) -> Told:
        context = StepContext(
            run=order.job,
            pipeline=order.pipeline,
            step=order.step,
            attempt=order.attempt,
            parameters=order.parameters,
            inputs=order.inputs,
            platform=lambda: self._open(order),
            progress=lambda text, fraction: self.tell(Progressed(text, fraction)),
        )
        with acting_as(order.actor, f"job {order.job} {order.step}"), _Attempt() as attempt:
            attempt.result = _encode(order.step, _load(order.function)(context))
        sys.stdout.flush()
        sys.stderr.flush()
        return attempt.outcome()

    def _open(self, order: RunStep) -> Any:
        if self._platform is None:
            if order.platform is None:
                raise LookupError("this worker was started without a platform: name one as 'module:function'")
            self._platform = _load(order.platform)(order.home)
        return self._platform


class _Attempt:
    """Holds what became of a step: whatever its code raises is an answer, not the end of the process."""

    def __init__(self) -> None:
        self.result = b""
        self.failed: BaseException | None = None

    def __enter__(self) -> _Attempt:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> bool:
        self.failed = error
        return isinstance(error, Exception | SystemExit)

    def outcome(self) -> Told:
        if self.failed is None:
            return Succeeded(self.result, _rss_bytes())
        error, self.failed = self.failed, None
        told = "".join(traceback.format_exception(error))
        return Failed(_one_line(error), told[-_MAX_TRACEBACK_CHARS:], _is_permanent(error), _rss_bytes())


def _load(name: str) -> Any:
    module, _, attribute = name.partition(":")
    found: Any = import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


def _encode(step: str, result: Any) -> bytes:
    data = msgspec.json.encode(result)
    if len(data) > MAX_RESULT_BYTES:
        raise InvalidData(
            f"step {step} returned {len(data)} bytes, at most {MAX_RESULT_BYTES} are recorded: "
            "store the data as a dataset or an artifact and return its ref"
        )
    return data


def _one_line(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"the step ended its process: exit({error.code!r})"
    said = " ".join(str(error).split())
    name = type(error).__name__
    return f"{name}: {said}"[:_MAX_ERROR_CHARS] if said else name


def _is_permanent(error: BaseException) -> bool:
    # What is wrong with the request or its data is still wrong the next time.
    return isinstance(error, MainspringError) and not error.retryable and error.status < 500


def _rss_bytes() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 (read after every step)
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # macOS, where the greatest size that it ever had must do; in bytes there.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
