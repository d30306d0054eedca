"""`mainspring up` and `down`: quick, one on a home, with clear words when it cannot, and nothing left after."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import msgspec
import psutil
import pytest
import sqlalchemy as sa

from mainspring.planes.schema import migrate
from mainspring.storage.sql.database import open_database
from tests.holds.running import Up, eventually

READY_WITHIN_S = 3.0


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    made = Up(tmp_path / "home", policy_interval_s=0)
    yield made
    made.close()


def refused(*arguments: str, home: Path) -> tuple[int, str]:
    """The exit code of an `up` that does not start, and the one line that it says."""
    command = [sys.executable, "-m", "mainspring", "up", "--home", str(home), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.returncode, done.stderr


def processor_seconds(processes: list[psutil.Process]) -> float:
    """What these processes have used so far, user and system, with the children that ended."""
    return sum(sum(process.cpu_times()[:4]) for process in processes)


def test_a_start_takes_less_than_three_seconds_of_the_processor(up: Up) -> None:
    """So it is ready within three seconds of the clock where it need not share the processor (`bench/platform`)."""
    taken = []
    for _ in range(2):
        up.start()
        taken.append(processor_seconds(up.processes()))
        assert up.stop() == 0
    assert min(taken) <= READY_WITHIN_S, taken


def test_it_says_where_everything_is_and_serves_there(up: Up) -> None:
    up.start()
    assert up.process is not None
    assert up.ready.keys() == {"control", "data", "home", "pid"}
    assert (up.ready["home"], up.ready["pid"]) == (str(up.home), up.process.pid)
    assert httpx2.get(f"{up.ready['control']}/openapi.json").status_code == 200
    assert httpx2.get(f"{up.ready['data']}/v2/health/ready").status_code == 200
    eventually(lambda: [(state.name, state.status) for state in up.states()] == [
        ("control", "running"), ("data-1", "running"), ("worker-1", "running")
    ])  # fmt: skip


def test_sigterm_stops_every_process(up: Up) -> None:
    up.start("--workers", "2")
    running = up.processes()
    assert len(running) >= 5
    assert up.stop() == 0
    _, alive = psutil.wait_procs(running, timeout=5)
    assert not alive
    assert not up.processes()


def test_a_signal_during_the_start_stops_what_was_started(up: Up) -> None:
    command = [sys.executable, "-m", "mainspring", "up", "--json", "--home", str(up.home), "--port", "0"]
    starting = subprocess.Popen([*command, "--data-port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    eventually(lambda: up.pid("control"), "the control plane does not start")
    starting.send_signal(signal.SIGTERM)
    out, said = starting.communicate(timeout=30)
    assert (starting.returncode, out, said) == (0, b"", b"")
    assert not up.processes()


def test_down_stops_it_from_anywhere(up: Up) -> None:
    up.start()
    command = [sys.executable, "-m", "mainspring", "down", "--json", "--home", str(up.home)]
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    assert msgspec.json.decode(done.stdout) == {"stopped": True, "pid": up.ready["pid"]}
    assert up.process is not None and up.process.wait(10) == 0
    again = subprocess.run(command, capture_output=True, timeout=60, check=True)
    assert msgspec.json.decode(again.stdout)["stopped"] is False


def test_requests_that_were_answered_while_it_stops_are_in_the_log(up: Up, tmp_path: Path) -> None:
    up.start()
    assert up.session is not None and up.process is not None
    deployed(up, tmp_path)
    answered = []
    with httpx2.Client(base_url=up.data, timeout=10) as client:
        for number in range(2000):
            if number == 50:
                up.process.send_signal(signal.SIGTERM)
            try:
                answer = client.post("/endpoints/sums/invocations", json={"instances": [[1, 2, 3]]})
            except httpx2.TransportError:
                break
            assert answer.status_code == 200
            answered.append(answer.headers["x-prediction-id"])
    assert 50 <= len(answered) < 2000
    assert up.process.wait(30) == 0
    up.start()
    eventually(lambda: up.call(lambda s: s.predictions.log_counts("sums")).predictions == len(answered))


def deployed(up: Up, folder: Path) -> None:
    """An endpoint ``sums`` with a small model."""
    from tests.serving import models

    assert up.session is not None
    version = up.session.import_model("sums", models.sum_model(folder / "model") / "model.onnx")
    up.session.releases.deploy("sums", version.ref)
    url = f"{up.data}/v2/models/sums/versions/{version.version}/ready"
    eventually(lambda: httpx2.get(url).status_code == 200, "it is not served")


def test_a_second_one_on_the_same_home_names_the_first(up: Up) -> None:
    up.start()
    code, said = refused("--port", "0", "--data-port", "0", home=up.home)
    assert code == 4
    assert f"pid {up.ready['pid']}" in said and "mainspring down" in said
    assert httpx2.get(f"{up.ready['control']}/health").status_code == 200


@pytest.mark.parametrize("flag", ["--port", "--data-port"])
def test_a_port_that_is_taken_names_the_flag(tmp_path: Path, flag: str) -> None:
    other = {"--port": "--data-port", "--data-port": "--port"}[flag]
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, said = refused(flag, str(port), other, "0", home=tmp_path / "home")
    assert code == 4
    assert f"port {port}" in said and f"another with {flag}," in said


def test_a_home_that_is_a_file_is_refused_with_the_remedy(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("not a folder")
    code, said = refused("--port", "0", "--data-port", "0", home=home)
    assert code == 6
    assert str(home) in said and "--home" in said
    assert home.read_text() == "not a folder"


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder that cannot be written: root may write everywhere but on a file system that is mounted so."""
    folder = tmp_path / "locked"
    folder.mkdir()
    if os.geteuid() != 0:
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)
        return
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("root without the right to mount can write everywhere")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_read_only_home_is_refused_with_the_remedy(read_only: Path) -> None:
    code, said = refused("--port", "0", "--data-port", "0", home=read_only / "home")
    assert code == 6
    assert "cannot be written" in said and "--home" in said


def test_a_database_of_a_newer_schema_is_refused_with_the_remedy(tmp_path: Path) -> None:
    home = tmp_path / "home"
    database = open_database(f"sqlite:///{home / 'mainspring.db'}")
    migrate(database)
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    code, said = refused("--port", "0", "--data-port", "0", home=home)
    assert code == 1
    assert "has schema 9999" in said and "upgrade Mainspring" in said


def test_a_host_of_the_network_is_refused(tmp_path: Path) -> None:
    environment = {**os.environ, "MAINSPRING_HOST": "0.0.0.0"}
    command = [sys.executable, "-m", "mainspring", "up", "--home", str(tmp_path / "home")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 2
    assert "only loopback is served" in done.stderr
