"""The supervisor starts processes in order, watches them, starts them again, and stops them; none outlives it."""

from __future__ import annotations

import http.client
import logging
import os
import random
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from mainspring.core.clock import Clock, SystemClock
from mainspring.core.errors import Conflict, Unavailable
from mainspring.runtime.guard import guarded, keeper_command
from mainspring.runtime.process_logs import ProcessLogs
from mainspring.storage.durable import replace_file

logger = logging.getLogger(__name__)

_TURN_S = 0.05
_STARTING_TURN_S = 0.01
_ROTATE_EVERY_TURNS = 20
_PROBE_TIMEOUT_S = 1.0
_KILLED = (-signal.SIGKILL, -signal.SIGTERM)

Status = Literal["waiting", "starting", "running", "restarting", "failed", "stopped"]
EventKind = Literal["started", "ready", "exited", "restarting", "failed", "stopped"]


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """How a process that ended is started again.

    The n-th restart in a row waits ``min(first_s * 2**(n-1), max_s)``, up to ``jitter`` of it more or less. A process
    that ran ``stable_s`` begins a new row. More than ``max_failures`` ends within ``window_s``: it stays down.
    """

    first_s: float = 0.2
    max_s: float = 15.0
    jitter: float = 0.2
    stable_s: float = 20.0
    max_failures: int = 8
    window_s: float = 120.0


class ProcessSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A process to keep running.

    ``environment`` is added to that of the supervisor. ``ready`` is an ``http://`` URL that answers 200 once the
    process does its work, a function that tells so (OSError means not yet), or None: as soon as it was started.
    """

    name: str
    command: list[str]
    environment: Mapping[str, str] = {}
    ready: str | Callable[[], bool] | None = None
    ready_timeout_s: float = 30.0
    stop_grace_s: float = 10.0
    backoff: Backoff = Backoff()


class ProcessState(msgspec.Struct, frozen=True, kw_only=True):
    """How one process stands. ``exit_code`` is that of its last end (negative: the signal)."""

    name: str
    status: Status
    pid: int | None
    uptime_s: float
    restarts: int
    exit_code: int | None


class ProcessEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to a process: ``exited`` has a code, ``restarting`` the seconds until then."""

    kind: EventKind
    name: str
    pid: int | None = None
    code: int | None = None
    delay_s: float | None = None


class _Child:
    """What the supervisor knows of one process."""

    def __init__(self, spec: ProcessSpec) -> None:
        self.spec = spec
        self.process: subprocess.Popen[bytes] | None = None
        self.status: Status = "waiting"
        self.began = 0.0
        self.due = 0.0
        self.restarts = 0
        self.in_a_row = 0
        self.ends: deque[float] = deque()
        self.exit_code: int | None = None
        self.was_ready = False
        self.too_slow = False

    @property
    def comes_up(self) -> bool:
        return self.status in ("starting", "restarting")


class Supervisor:
    """Keeps processes running. One thread calls `start` and `watch`; any may call `states` and `stop`.

    Each process leads a session of its own; when it ends, what is left of its process group is killed. When the
    supervisor ends in any way, all of them are killed with their groups. The threads that call `start` and `watch`
    must live as long as the processes should (Linux binds them to the thread that started them).
    """

    def __init__(
        self,
        specs: Sequence[ProcessSpec],
        *,
        logs: Path | None = None,
        state_file: Path | None = None,
        on_event: Callable[[ProcessEvent], None] | None = None,
        max_log_bytes: int = 10 * 2**20,
        kept_logs: int = 3,
        clock: Clock | None = None,
    ) -> None:
        """Prepare. Output goes to ``logs/<name>.log``, or where that of the supervisor goes when *logs* is None.

        ``state_file`` is replaced by the list of `ProcessState` (JSON) whenever something happens.
        """
        self._children = [_Child(spec) for spec in specs]
        self._logs = None if logs is None else ProcessLogs(logs, max_bytes=max_log_bytes, kept=kept_logs)
        self._state_file, self._on_event = state_file, on_event
        self._clock = clock or SystemClock()
        self._lock = threading.RLock()
        self._keeper: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._turns = 0

    def start(self) -> None:
        """Start each process as soon as the one before it is ready.

        Raises Unavailable when one ends by itself, or is not ready in time, before it was ever ready; the others are
        stopped. One that somebody killed said nothing against its start: it is started again.
        """
        for child in self._children:
            with self._lock:
                if self._stopping.is_set():
                    raise Conflict("the supervisor was stopped: make a new one")
                try:
                    self._launch(child)
                except OSError as error:
                    self.stop()
                    raise Unavailable(f"{child.spec.name} cannot be started: {error}", name=child.spec.name) from error
            while child.comes_up:
                self._turn()
                if child.comes_up:
                    self._stopping.wait(_STARTING_TURN_S)
            if child.status != "running":
                reason = f"{child.spec.name} {self._reason(child)}"
                self.stop()
                raise Unavailable(reason, name=child.spec.name, code=child.exit_code)

    def watch(self, until: threading.Event | None = None, *, timeout_s: float | None = None) -> None:
        """Watch and restart until *until* is set, `stop` is called or the time is over."""
        deadline = None if timeout_s is None else self._clock.monotonic() + timeout_s
        while not self._stopping.is_set() and not (until is not None and until.is_set()):
            if deadline is not None and self._clock.monotonic() >= deadline:
                return
            self._turn()
            (until or self._stopping).wait(_TURN_S)
        if self._stopping.is_set():
            # Held by `stop` until the last one ended: this thread must not end before the processes bound to it.
            with self._lock:
                return

    def stop(self) -> None:
        """Stop all in reverse order: SIGTERM, after the grace SIGKILL to what is left of the group. May be repeated."""
        with self._lock:
            self._stopping.set()
            for child in reversed(self._children):
                self._end(child)
            self._dismiss_keeper()

    def states(self) -> list[ProcessState]:
        """List how each process stands, in the order of starting."""
        now = self._clock.monotonic()
        return [_state(child, now) for child in self._children]

    def __enter__(self) -> Supervisor:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _turn(self) -> None:
        with self._lock:
            if self._stopping.is_set():
                return
            if self._keeper is not None and self._keeper.poll() is not None:
                self._living_keeper()
            self._turns += 1
            for child in self._children:
                self._attend(child)
                if self._logs is not None and self._turns % _ROTATE_EVERY_TURNS == 0:
                    self._logs.rotate(child.spec.name)

    def _attend(self, child: _Child) -> None:
        now = self._clock.monotonic()
        if child.process is not None and _has_ended(child.process):
            self._after_end(child)
        elif child.status == "restarting" and now >= child.due:
            child.restarts += 1
            try:
                self._launch(child)
            except OSError as error:
                # No room for a process or its log just now: the others go on, and this one comes back when there is.
                logger.error("%s cannot be started: %s; it is tried again", child.spec.name, error)
                self._wait(child, now)
        elif child.status == "starting":
            self._probe(child, now)

    def _launch(self, child: _Child) -> None:
        spec = child.spec
        keeper = self._living_keeper()
        assert keeper.stdin is not None
        pipe = keeper.stdin.fileno()
        output = None if self._logs is None else self._logs.open(spec.name)
        try:
            child.process = subprocess.Popen(
                guarded(spec.command, keeper=pipe),
                # Inherited, not read: settings come from the environment in core/settings.py only.
                env={**os.environ, **spec.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=None if output is None else subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(pipe,),
            )
        finally:
            if output is not None:
                os.close(output)
        child.began = self._clock.monotonic()
        child.status = "starting"
        self._tell("started", child, pid=child.process.pid)

    def _probe(self, child: _Child, now: float) -> None:
        if _is_ready(child.spec.ready):
            child.status, child.was_ready = "running", True
            self._tell("ready", child, pid=child.process.pid if child.process else None)
        elif now - child.began > child.spec.ready_timeout_s and child.process is not None:
            child.too_slow = True
            _kill_group(child.process.pid)

    def _after_end(self, child: _Child) -> None:
        now, backoff = self._clock.monotonic(), child.spec.backoff
        if now - child.began >= backoff.stable_s and child.status == "running":
            child.in_a_row = 0
        self._bury(child)
        killed = child.exit_code in _KILLED and not child.too_slow
        cannot_start = not child.was_ready and not killed
        child.ends.append(now)
        while now - child.ends[0] > backoff.window_s:
            child.ends.popleft()
        if cannot_start or len(child.ends) > backoff.max_failures:
            child.status = "failed"
            self._tell("failed", child, code=child.exit_code)
            return
        self._wait(child, now)

    def _wait(self, child: _Child, now: float) -> None:
        backoff = child.spec.backoff
        delay = min(backoff.first_s * 2.0 ** min(child.in_a_row, 60), backoff.max_s)
        delay *= 1 + backoff.jitter * random.uniform(-1, 1)
        child.in_a_row += 1
        child.due, child.status = now + delay, "restarting"
        self._tell("restarting", child, delay_s=delay)

    def _bury(self, child: _Child) -> None:
        process = child.process
        if process is None:
            return
        # Until it is reaped its number cannot belong to anybody else, so the group is surely its own.
        _kill_group(process.pid)
        self._forget_group(process.pid)
        child.exit_code = process.wait()
        child.process = None
        self._tell("exited", child, pid=process.pid, code=child.exit_code)

    def _end(self, child: _Child) -> None:
        if child.process is not None:
            with suppress(ProcessLookupError):
                os.kill(child.process.pid, signal.SIGTERM)
            deadline = time.monotonic() + child.spec.stop_grace_s
            while not _has_ended(child.process) and time.monotonic() < deadline:
                time.sleep(_STARTING_TURN_S)
            if not _has_ended(child.process):
                _kill_group(child.process.pid)
            self._bury(child)
        if child.status not in ("failed", "stopped", "waiting"):
            child.status = "stopped"
            self._tell("stopped", child, code=child.exit_code)

    def _living_keeper(self) -> subprocess.Popen[bytes]:
        if self._keeper is not None and self._keeper.poll() is None:
            return self._keeper
        self._dismiss_keeper()
        # The groups are in the pipe before their keeper begins: there is no moment at which it would forget them.
        told, tell = os.pipe()
        pipe = os.fdopen(tell, "wb", buffering=0)
        try:
            for child in self._children:
                if child.process is not None:
                    pipe.write(b"+%d\n" % child.process.pid)
            self._keeper = subprocess.Popen(
                keeper_command(), stdin=told, stdout=subprocess.DEVNULL, start_new_session=True
            )
        except OSError:
            pipe.close()
            raise
        finally:
            os.close(told)
        self._keeper.stdin = pipe
        return self._keeper

    def _forget_group(self, group: int) -> None:
        if self._keeper is not None and self._keeper.stdin is not None:
            with suppress(BrokenPipeError):
                self._keeper.stdin.write(b"-%d\n" % group)

    def _dismiss_keeper(self) -> None:
        if self._keeper is not None and self._keeper.stdin is not None:
            self._keeper.stdin.close()
            self._keeper.wait()
            self._keeper = None

    def _reason(self, child: _Child) -> str:
        if child.exit_code is None:
            return "was stopped before it was ready"
        waited = f"did not become ready: it ended with code {child.exit_code}"
        if child.exit_code == -signal.SIGKILL:
            waited = f"did not become ready within {child.spec.ready_timeout_s:g} s, or was killed"
        if self._logs is None:
            return waited
        return f"{waited}; {self._logs.last_words(child.spec.name)}"

    def _tell(self, kind: EventKind, child: _Child, **facts: float | None) -> None:
        if self._state_file is not None:
            with suppress(OSError):
                replace_file(self._state_file, msgspec.json.encode(self.states()), durable=False)
        if self._on_event is not None:
            self._on_event(msgspec.convert({"kind": kind, "name": child.spec.name, **facts}, ProcessEvent))


def _state(child: _Child, now: float) -> ProcessState:
    process = child.process
    return ProcessState(
        name=child.spec.name,
        status=child.status,
        pid=process.pid if process else None,
        uptime_s=now - child.began if process else 0.0,
        restarts=child.restarts,
        exit_code=child.exit_code,
    )


def read_states(state_file: Path) -> list[ProcessState]:
    """Read what a supervisor wrote last; empty when there is no such file."""
    try:
        return msgspec.json.decode(state_file.read_bytes(), type=list[ProcessState])
    except FileNotFoundError:
        return []


def _kill_group(group: int) -> None:
    # macOS answers EPERM for a group of zombies only.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        return process.poll() is not None
    # WNOWAIT leaves it a zombie, which keeps its number and its group from being used again.
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _is_ready(ready: str | Callable[[], bool] | None) -> bool:
    if ready is None:
        return True
    try:
        return _answers(ready) if isinstance(ready, str) else ready()
    except (OSError, http.client.HTTPException):
        return False


def _answers(url: str) -> bool:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=_PROBE_TIMEOUT_S)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status == 200
    finally:
        connection.close()
