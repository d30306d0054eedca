"""`mainspring up`: the control plane, the data plane and the job workers under one supervisor on one machine."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import msgspec

from mainspring.core.errors import BY_CODE, Conflict, InvalidRequest, MainspringError, Unavailable
from mainspring.core.settings import SECRET, Settings
from mainspring.planes.testing_home import claim, unclaim
from mainspring.runtime.home_lock import HomeLock
from mainspring.runtime.supervisor import ProcessEvent, ProcessSpec, Supervisor

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Running(msgspec.Struct, frozen=True):
    """Where a platform answers: URLs of the control and the data plane, its home folder, and the supervisor's pid."""

    control: str
    data: str
    home: str
    pid: int


def run_up(
    settings: Settings,
    announce: Callable[[Running], None],
    on_event: Callable[[ProcessEvent], None] | None = None,
    stop: threading.Event | None = None,
    *,
    testing: bool = False,
) -> None:
    """Run the platform until SIGTERM or SIGINT (or *stop* is set); then drain and stop everything.

    With *testing* anybody may empty it, so it wants a home without data.

    *announce* is called once everything is ready, *on_event* with what happens to the processes from then on.

    Raises Conflict when the home is in use or a port is taken, Unavailable when the home cannot be written or a process
    does not start, and what the control plane said when it could not start, such as SchemaTooNew.
    """
    if settings.host not in _LOOPBACK and not settings.auth:
        raise InvalidRequest(
            f"host is {settings.host!r}: without authentication only loopback is served; ask for logins with --auth, "
            "or set host to 127.0.0.1 and let a proxy that knows your users answer the network"
        )
    if testing and settings.auth:
        raise InvalidRequest("a testing platform can be emptied by anybody: it asks for no login, leave --auth out")
    # Predictions ask for no login.
    data_host = settings.host if settings.host in _LOOPBACK else "127.0.0.1"
    home = Path(settings.home).absolute()
    stopping = stop or threading.Event()
    with (
        HomeLock(home) as lock,
        _reserved(settings.host, settings.port, "port") as control_port,
        _reserved(data_host, settings.data_port, "data_port") as data_port,
        _signals(stopping),
    ):
        # Under the lock: nobody else runs on the home, and it is written down what it is for.
        if testing:
            claim(settings)
        else:
            unclaim(home)
        running = Running(
            control=f"http://{settings.host}:{control_port}",
            data=f"http://{data_host}:{data_port}",
            home=str(home),
            pid=os.getpid(),
        )
        specs = _specs(settings, home, running, control_port, data_port, testing)
        up = _Up(announce, on_event)
        supervisor = Supervisor(specs, logs=home / "logs", state_file=home / "run" / "processes.json", on_event=up.tell)
        lock.describe({"control": running.control, "data": running.data})
        try:
            _supervise(supervisor, stopping, lambda: up.ready(running))
        except Unavailable as error:
            raise _told(home / "logs", error) from error


class _Up:
    """Tells of events only from when all is ready: what does not even start is told by the error raised for it."""

    def __init__(self, announce: Callable[[Running], None], on_event: Callable[[ProcessEvent], None] | None) -> None:
        self._announce, self._on_event = announce, on_event
        self._ready = False

    def ready(self, running: Running) -> None:
        self._ready = True
        self._announce(running)

    def tell(self, event: ProcessEvent) -> None:
        if self._on_event is not None and self._ready:
            self._on_event(event)


def _supervise(supervisor: Supervisor, stopping: threading.Event, ready: Callable[[], None]) -> None:
    # A signal may come while the processes start: start() has no ear for it, so a thread listens.
    started = threading.Event()
    listener = threading.Thread(target=_stop_early, args=(supervisor, stopping, started), daemon=True)
    listener.start()
    try:
        supervisor.start()
        started.set()
        ready()
        supervisor.watch(stopping)
    except (Unavailable, Conflict):
        if not stopping.is_set():
            raise
    finally:
        started.set()
        supervisor.stop()


class _LastLine(msgspec.Struct):
    event: str
    code: str


def _told(logs: Path, error: Unavailable) -> MainspringError:
    """Give what the process that did not start said itself, where its last word was an error with a code."""
    try:
        lines = (logs / f"{error.facts.get('name')}.log").read_bytes().strip().splitlines()
        last = msgspec.json.decode(lines[-1], type=_LastLine)
    except (OSError, IndexError, msgspec.MsgspecError):
        return error
    return BY_CODE.get(last.code, Unavailable)(last.event, **error.facts)


def _stop_early(supervisor: Supervisor, stopping: threading.Event, started: threading.Event) -> None:
    while not started.is_set():
        if stopping.wait(0.05):
            supervisor.stop()
            return


def _specs(
    settings: Settings, home: Path, running: Running, control_port: int, data_port: int, testing: bool
) -> list[ProcessSpec]:
    full = environment(msgspec.structs.replace(settings, home=str(home), port=control_port, data_port=data_port))
    # What runs in the other processes, the code of steps among it, has no use for secrets.
    base = {**full, **{f"MAINSPRING_{name.upper()}": "" for name in SECRET}}
    # The supervisor gives more time than the drain takes, so that only what hangs is killed.
    grace = settings.drain_timeout_s + 5.0

    def spec(name: str, module: str, *arguments: str, ready: str | None = None) -> ProcessSpec:
        return ProcessSpec(
            name=name,
            command=[sys.executable, "-m", module, *arguments],
            # The control plane multiplies no matrices: without this numpy would begin a thread for each processor.
            environment={**full, "OPENBLAS_NUM_THREADS": "1"} if name == "control" else base,
            ready=ready,
            stop_grace_s=grace,
        )

    data = [
        spec(
            f"data-{number}",
            "mainspring.planes.data",
            *_data_options(settings, home, data_port, f"data-{number}"),
            ready=f"{running.data}/v2/health/live",
        )
        for number in range(1, settings.data_workers + 1)
    ]
    jobs = [
        spec(f"worker-{number}", "mainspring.planes.worker", "--worker", f"worker-{number}")
        for number in range(1, settings.job_workers + 1)
    ]
    extra = ["--testing"] if testing else []
    return [spec("control", "mainspring.planes.control", *extra, ready=f"{running.control}/health"), *data, *jobs]


def _data_options(settings: Settings, home: Path, port: int, worker: str) -> list[str]:
    options = {
        "home": home,
        "host": settings.host if settings.host in _LOOPBACK else "127.0.0.1",
        "port": port,
        "worker": worker,
        "max-body-bytes": settings.max_request_bytes,
        "max-waiting-rows": settings.max_waiting_rows,
        "spool-max-bytes": settings.spool_max_bytes,
        "kv-url": settings.kv_url,
        "log-level": settings.log_level,
        "drain-timeout-s": settings.drain_timeout_s,
    }
    return [part for name, value in options.items() for part in (f"--{name}", str(value))]


def environment(settings: Settings) -> dict[str, str]:
    """Give the variables that make another process load exactly these settings."""
    return {f"MAINSPRING_{name.upper()}": str(value) for name, value in msgspec.structs.asdict(settings).items()}


@contextmanager
def _reserved(host: str, port: int, setting: str) -> Iterator[int]:
    """Hold a port for processes that share it by SO_REUSEPORT, so that it stays ours while they restart.

    A first socket without that option finds out whether somebody else has it: with the option on both sides the kernel
    would let two platforms share one port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            port = int(probe.getsockname()[1])
        holder = socket.socket(family)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind((host, port))
    except OSError as error:
        flag = setting.replace("_", "-")
        raise Conflict(
            f"port {port} on {host} is taken ({error.strerror}): choose another with --{flag}, or 0"
        ) from error
    try:
        yield port
    finally:
        holder.close()


@contextmanager
def _signals(stopping: threading.Event) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        # The handler interrupts this thread, perhaps inside of the event's own lock; another thread can wait for it.
        threading.Thread(target=stopping.set, daemon=True).start()

    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, action in previous.items():
            signal.signal(number, action)
