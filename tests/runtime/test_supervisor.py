"""Processes start in order, come back when they end, stop in order, and none of them outlives the supervisor."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mainspring.core.errors import Conflict, Unavailable
from mainspring.runtime.home_lock import HomeLock, Owner, home_owner
from mainspring.runtime.presence import started_at
from mainspring.runtime.supervisor import Backoff, ProcessEvent, ProcessSpec, Supervisor, read_states

PATIENCE_S = 20.0
QUICK = Backoff(first_s=0.01, max_s=0.05, jitter=0.0, max_failures=3)


def python(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-I", "-S", "-u", "-c", code, *(str(argument) for argument in arguments)]


SLEEP = python("import time; time.sleep(600)")
STUBBORN = python(
    "import signal, sys, time, pathlib\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "pathlib.Path(sys.argv[1]).touch(); time.sleep(600)",
    "{file}",
)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


class Watched:
    """A supervisor that a thread of its own starts and watches, as the children are bound to their thread."""

    def __init__(self, supervisor: Supervisor, events: list[ProcessEvent]) -> None:
        self.supervisor = supervisor
        self.events = events
        self.started = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        assert self.started.wait(PATIENCE_S)

    def _run(self) -> None:
        self.supervisor.start()
        self.started.set()
        self.supervisor.watch()

    def pid(self, name: str) -> int:
        (pid,) = [state.pid for state in self.supervisor.states() if state.name == name]
        assert pid is not None
        return pid

    def seen(self, kind: str, name: str) -> list[ProcessEvent]:
        return [event for event in self.events if event.kind == kind and event.name == name]


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Callable[..., Watched]]:
    watched: list[Watched] = []

    def start(*specs: ProcessSpec, **options: object) -> Watched:
        events: list[ProcessEvent] = []
        supervisor = Supervisor(specs, logs=tmp_path / "logs", on_event=events.append, **options)  # type: ignore[arg-type]
        watched.append(Watched(supervisor, events))
        return watched[-1]

    yield start
    for one in watched:
        one.supervisor.stop()
        one.thread.join(PATIENCE_S)
        assert not one.thread.is_alive()


def test_each_starts_only_when_the_one_before_is_ready(watch: Callable[..., Watched]) -> None:
    answers = iter([False, False, False, True])
    watched = watch(
        ProcessSpec(name="a", command=SLEEP, ready=lambda: next(answers)), ProcessSpec(name="b", command=SLEEP)
    )
    assert list(answers) == []
    assert [(event.kind, event.name) for event in watched.events] == [
        ("started", "a"),
        ("ready", "a"),
        ("started", "b"),
        ("ready", "b"),
    ]
    assert [state.status for state in watched.supervisor.states()] == ["running", "running"]


def test_a_url_that_answers_200_means_ready(tmp_path: Path, watch: Callable[..., Watched]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = (
        "import http.server, sys\n"
        "answers = iter([404, 503, 200])\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(next(answers) if self.path == '/ready' else 500)\n"
        "        self.end_headers()\n"
        "http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), H).serve_forever()\n"
    )
    watched = watch(ProcessSpec(name="web", command=python(code, port), ready=f"http://127.0.0.1:{port}/ready"))
    said = (tmp_path / "logs" / "web.log").read_text()
    assert [line.split()[-2] for line in said.splitlines()] == ["404", "503", "200"]
    assert watched.supervisor.states()[0].status == "running"


def test_a_process_that_was_killed_comes_back_and_the_others_stay(watch: Callable[..., Watched]) -> None:
    watched = watch(
        ProcessSpec(name="a", command=SLEEP, backoff=QUICK), ProcessSpec(name="b", command=SLEEP, backoff=QUICK)
    )
    killed, other = watched.pid("a"), watched.pid("b")
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: len(watched.seen("ready", "a")) == 2)
    assert watched.pid("a") != killed and watched.pid("b") == other
    assert watched.supervisor.states()[0].restarts == 1
    assert watched.seen("exited", "a")[0].code == -signal.SIGKILL
    assert watched.supervisor.states()[1].restarts == 0


def test_one_that_cannot_be_started_again_just_now_takes_no_other_with_it(
    tmp_path: Path, watch: Callable[..., Watched], caplog: pytest.LogCaptureFixture
) -> None:
    watched = watch(
        ProcessSpec(name="a", command=SLEEP, backoff=QUICK), ProcessSpec(name="b", command=SLEEP, backoff=QUICK)
    )
    other = watched.pid("b")
    (tmp_path / "logs").rename(tmp_path / "away")
    (tmp_path / "logs").write_text("there is no room for a log")
    os.kill(watched.pid("a"), signal.SIGKILL)
    eventually(lambda: caplog.text.count("a cannot be started") > QUICK.max_failures)
    assert watched.pid("b") == other and started_at(other)
    (tmp_path / "logs").unlink()
    eventually(lambda: len(watched.seen("ready", "a")) == 2)
    assert watched.pid("b") == other


def test_a_log_that_cannot_be_opened_fails_the_start(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("there is no room for a log")
    with pytest.raises(Unavailable, match=r"a cannot be started: .*logs"):
        Supervisor([ProcessSpec(name="a", command=SLEEP)], logs=tmp_path / "logs").start()


def test_restarts_wait_longer_each_time_until_it_is_given_up_while_the_others_go_on(
    watch: Callable[..., Watched],
) -> None:
    backoff = Backoff(first_s=0.01, max_s=0.04, jitter=0.0, max_failures=4)
    watched = watch(
        ProcessSpec(name="bad", command=python("import sys; sys.exit(3)"), backoff=backoff),
        ProcessSpec(name="good", command=SLEEP),
    )
    eventually(lambda: watched.seen("failed", "bad") != [])
    assert [event.delay_s for event in watched.seen("restarting", "bad")] == [0.01, 0.02, 0.04, 0.04]
    assert {event.code for event in watched.seen("exited", "bad")} == {3}
    bad, good = watched.supervisor.states()
    assert (bad.status, bad.pid, bad.exit_code) == ("failed", None, 3)
    assert good.status == "running" and good.restarts == 0


def test_a_stable_run_begins_the_waits_anew(watch: Callable[..., Watched]) -> None:
    backoff = Backoff(first_s=0.01, max_s=10.0, jitter=0.0, stable_s=0.05, max_failures=100)
    watched = watch(
        ProcessSpec(name="a", command=python("import time; time.sleep(0.3)"), backoff=backoff),
    )
    eventually(lambda: len(watched.seen("restarting", "a")) >= 3)
    assert {event.delay_s for event in watched.seen("restarting", "a")} == {0.01}


def test_they_stop_in_reverse_order_and_the_stubborn_one_after_its_grace(
    tmp_path: Path, watch: Callable[..., Watched]
) -> None:
    mark = tmp_path / "deaf"
    stubborn = [part.format(file=mark) for part in STUBBORN]
    watched = watch(
        ProcessSpec(name="first", command=SLEEP),
        ProcessSpec(name="stubborn", command=stubborn, ready=mark.exists, stop_grace_s=0.2),
        ProcessSpec(name="last", command=SLEEP),
    )
    watched.supervisor.stop()
    exits = [(event.name, event.code) for event in watched.events if event.kind == "exited"]
    assert exits == [("last", -signal.SIGTERM), ("stubborn", -signal.SIGKILL), ("first", -signal.SIGTERM)]
    assert {state.status for state in watched.supervisor.states()} == {"stopped"}
    with pytest.raises(Conflict):
        watched.supervisor.start()


def test_a_process_that_ends_before_it_was_ready_fails_the_start_with_its_last_words(tmp_path: Path) -> None:
    supervisor = Supervisor(
        [
            ProcessSpec(name="fine", command=SLEEP),
            ProcessSpec(name="bad", command=python("import sys; sys.exit('port 7700 is taken')"), ready=lambda: False),
        ],
        logs=tmp_path,
    )
    with pytest.raises(Unavailable, match=r"(?s)bad did not become ready: it ended with code 1.*port 7700 is taken"):
        supervisor.start()
    assert [state.status for state in supervisor.states()] == ["stopped", "failed"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_is_killed_before_it_was_ready_is_started_again(tmp_path: Path, number: int) -> None:
    again = python(
        "import os, pathlib, sys, time\n"
        "file = pathlib.Path(sys.argv[1])\n"
        "if file.exists():\n    file.with_suffix('.ready').touch(); time.sleep(600)\n"
        "file.touch(); os.kill(os.getpid(), int(sys.argv[2]))",
        tmp_path / "killed",
        number,
    )
    ready = (tmp_path / "killed.ready").exists
    with Supervisor([ProcessSpec(name="hunted", command=again, ready=ready, backoff=QUICK)]) as supervisor:
        (state,) = supervisor.states()
        assert (state.status, state.restarts, state.exit_code) == ("running", 1, -number)


def test_a_process_that_is_killed_again_and_again_fails_the_start() -> None:
    dying = python("import os; os.kill(os.getpid(), 9)")
    supervisor = Supervisor([ProcessSpec(name="dying", command=dying, ready=lambda: False, backoff=QUICK)])
    with pytest.raises(Unavailable, match="dying did not become ready"):
        supervisor.start()


def test_a_process_that_is_never_ready_fails_the_start(tmp_path: Path) -> None:
    spec = ProcessSpec(name="slow", command=SLEEP, ready=lambda: False, ready_timeout_s=0.1)
    supervisor = Supervisor([spec], logs=tmp_path)
    with pytest.raises(Unavailable, match=r"within 0.1 s"):
        supervisor.start()
    assert supervisor.states()[0].restarts == 0


def test_a_program_that_does_not_exist_is_said_clearly(tmp_path: Path) -> None:
    spec = ProcessSpec(name="x", command=["no-such-program-here"], ready=lambda: False)
    with pytest.raises(Unavailable, match=r"(?s)code 127.*there is no such program"):
        Supervisor([spec], logs=tmp_path).start()


_FAMILY = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if sys.argv[2] == "0":
    open(sys.argv[1], "a").write(f"{os.getpid()}\\n")
else:
    subprocess.Popen([*sys.orig_argv[:-1], str(int(sys.argv[2]) - 1)])
    open(sys.argv[1], "a").write(f"{os.getpid()}\\n")
time.sleep(600)
"""

_SUPERVISE = """
import sys
from pathlib import Path
from mainspring.runtime.supervisor import ProcessSpec, Supervisor
folder, family = Path(sys.argv[1]), sys.argv[2:]
specs = [ProcessSpec(name=n, command=[*family, str(folder / f"{n}.pids"), "2"]) for n in ("a", "b")]
supervisor = Supervisor(specs, logs=folder / "logs", state_file=folder / "state.json")
supervisor.start()
supervisor.watch()
"""


def pids(folder: Path, *names: str) -> list[int]:
    files = [folder / f"{name}.pids" for name in names]
    return [int(line) for file in files if file.exists() for line in file.read_text().split()]


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", _SUPERVISE, str(tmp_path), *python(_FAMILY)])
    eventually(lambda: len(pids(tmp_path, "a", "b")) == 6)
    yield process
    process.kill()
    process.wait()


def test_kill_9_of_the_supervisor_leaves_no_child_and_no_grandchild(
    tmp_path: Path, parent: subprocess.Popen[bytes]
) -> None:
    family = pids(tmp_path, "a", "b")
    assert all(started_at(pid) for pid in family)
    parent.kill()
    eventually(lambda: not any(started_at(pid) for pid in family))


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel binds a child to its parent on Linux only")
def test_even_when_the_keeper_is_killed_first_no_child_stays(tmp_path: Path, parent: subprocess.Popen[bytes]) -> None:
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    keeper = next(pid for pid in children.read_text().split() if b"keep" in Path(f"/proc/{pid}/cmdline").read_bytes())
    parent.send_signal(signal.SIGSTOP)
    os.kill(int(keeper), signal.SIGKILL)
    direct = [state.pid for state in read_states(tmp_path / "state.json")]
    family = pids(tmp_path, "a", "b")
    parent.kill()
    eventually(lambda: not any(started_at(pid) for pid in direct if pid))
    for pid in family:
        if started_at(pid):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="finds the keeper in /proc")
def test_a_keeper_that_was_killed_is_replaced(tmp_path: Path, parent: subprocess.Popen[bytes]) -> None:
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")

    def keepers() -> list[int]:
        found = []
        for pid in children.read_text().split():
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if command[-2:] == [b"keep", b""]:
                found.append(int(pid))
        return found

    (first,) = keepers()
    os.kill(first, signal.SIGKILL)
    eventually(lambda: keepers() not in ([], [first]))
    family = pids(tmp_path, "a", "b")
    parent.kill()
    eventually(lambda: not any(started_at(pid) for pid in family))


def test_grandchildren_die_with_the_child_and_it_comes_back(tmp_path: Path, parent: subprocess.Popen[bytes]) -> None:
    family = pids(tmp_path, "a")
    (child,) = [state.pid for state in read_states(tmp_path / "state.json") if state.name == "a"]
    assert child in family
    os.kill(child, signal.SIGKILL)
    eventually(lambda: not any(started_at(pid) for pid in family))
    eventually(lambda: len(pids(tmp_path, "a")) == 6)


def test_a_log_is_rotated_while_the_process_writes_on(tmp_path: Path, watch: Callable[..., Watched]) -> None:
    code = "import time\nfor i in range(10**9):\n    print(f'line {i} ' + 'x' * 500); time.sleep(0.001)"
    watched = watch(ProcessSpec(name="noisy", command=python(code)), max_log_bytes=100_000, kept_logs=2)
    log = tmp_path / "logs" / "noisy.log"
    eventually(lambda: (tmp_path / "logs" / "noisy.log.2").exists())
    eventually(lambda: log.stat().st_size > 1000)
    assert log.read_bytes()[:5] == b"line "
    assert sorted(file.name for file in log.parent.iterdir()) == ["noisy.log", "noisy.log.1", "noisy.log.2"]
    assert watched.supervisor.states()[0].restarts == 0


def test_a_command_starts_with_the_signals_of_any_other(tmp_path: Path, watch: Callable[..., Watched]) -> None:
    watch(ProcessSpec(name="sh", command=["sh", "-c", "yes | head -n 1; echo done; sleep 600"]))
    eventually(lambda: (tmp_path / "logs" / "sh.log").read_text() == "y\ndone\n")


def test_the_environment_is_added_to(tmp_path: Path, watch: Callable[..., Watched]) -> None:
    code = "import os, time; print(os.environ['ADDED'], 'PATH' in os.environ); time.sleep(600)"
    watch(ProcessSpec(name="a", command=python(code), environment={"ADDED": "yes"}))
    eventually(lambda: (tmp_path / "logs" / "a.log").read_text() == "yes True\n")


def test_the_state_file_tells_others_how_each_process_stands(tmp_path: Path, watch: Callable[..., Watched]) -> None:
    file = tmp_path / "state.json"
    assert read_states(file) == []
    watched = watch(ProcessSpec(name="a", command=SLEEP), state_file=file)
    (state,) = read_states(file)
    assert (state.name, state.status, state.pid) == ("a", "running", watched.pid("a"))
    watched.supervisor.stop()
    assert read_states(file)[0].status == "stopped"


def test_a_second_owner_of_a_home_is_refused_by_the_pid_of_the_first(tmp_path: Path) -> None:
    assert home_owner(tmp_path) is None
    code = (
        "import sys; from mainspring.runtime.home_lock import HomeLock; lock = HomeLock(sys.argv[1]);"
        "lock.describe({'control': 'http://127.0.0.1:7700'}); print(flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with other:
        assert other.stdout is not None
        other.stdout.readline()
        assert home_owner(tmp_path) == Owner(other.pid, {"control": "http://127.0.0.1:7700"})
        with pytest.raises(Conflict, match=f"pid {other.pid}"):
            HomeLock(tmp_path)
        other.kill()
    with HomeLock(tmp_path):
        assert home_owner(tmp_path) == Owner(os.getpid(), {})
    assert home_owner(tmp_path) is None


def test_a_home_that_cannot_be_written_is_said_clearly(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="choose another"):
        HomeLock(tmp_path / "file" / "home")


def test_a_home_on_a_disk_that_takes_no_more_is_said_clearly(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(Unavailable, match=r"cannot be locked: .*: free some space"):
            HomeLock(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    HomeLock(tmp_path).close()
