"""The embedded platform: opened where it can be, found where it runs, shared by processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from mainspring.core.errors import SchemaTooNew, Unavailable
from mainspring.core.settings import Settings
from mainspring.planes.embedded import Platform, attach, open_platform
from tests.holds.running import Up
from tests.servers import free_port

ROWS = pl.DataFrame({"a": [1, 2, 3]})


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def up(home: Path) -> Iterator[Up]:
    made = Up(home, policy_interval_s=0)
    yield made
    made.close()


def test_without_a_running_platform_the_home_itself_is_opened(home: Path) -> None:
    with attach(Settings(home=str(home))) as session:
        assert isinstance(session, Platform)


def test_a_platform_that_runs_on_the_home_is_talked_to(up: Up, home: Path) -> None:
    up.start()
    with attach(Settings(home=str(home))) as session:
        assert not isinstance(session, Platform)
        assert session.import_dataset("rows", ROWS, check=False).ref == "dataset:rows@1"
    assert up.stop() == 0
    with attach(Settings(home=str(home))) as session:
        assert isinstance(session, Platform)
        assert session.datasets.read("rows", 1).equals(ROWS)


def test_a_url_goes_before_the_home(up: Up, tmp_path: Path) -> None:
    up.start()
    with attach(Settings(home=str(tmp_path / "other"), url=up.ready["control"])) as session:
        assert not isinstance(session, Platform)
        assert session.datasets.list() == []
    assert not (tmp_path / "other").exists()


def test_a_url_where_nobody_answers_is_told(home: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with attach(Settings(url=url)) as session, pytest.raises(Unavailable, match=url):
        session.datasets.list()


def test_a_home_that_cannot_be_made_is_told_with_the_remedy(home: Path) -> None:
    home.write_text("a file")
    with pytest.raises(Unavailable, match="--home"):
        open_platform(Settings(home=str(home)))
    with pytest.raises(Unavailable, match="--home"):
        open_platform(Settings(home=str(home / "below")))


def test_a_newer_home_is_refused(home: Path) -> None:
    with Platform(Settings(home=str(home))) as opened:
        assert isinstance(opened, Platform)
        with opened.database.begin() as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaTooNew, match="upgrade Mainspring"):
        open_platform(Settings(home=str(home)))


@pytest.mark.slow  # Four processes that import everything.
def test_processes_may_work_on_one_home_at_once(home: Path) -> None:
    code = (
        "import sys, mainspring, polars\n"
        "from mainspring.core.errors import Conflict\n"
        "with mainspring.open(sys.argv[1]) as session:\n"
        "    for number in range(5):\n"
        "        frame = polars.DataFrame({'who': [sys.argv[2]], 'number': [number]})\n"
        "        while True:\n"
        "            try:\n"
        "                session.import_dataset('shared', frame, check=False, token=f'{sys.argv[2]}-{number}')\n"
        "                break\n"
        "            except Conflict:  # The others were quicker, again and again.\n"
        "                continue\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(home), f"p{number}"], stderr=subprocess.PIPE, env=os.environ)
        for number in range(4)
    ]
    ended = [(process.communicate(timeout=150)[1], process.returncode) for process in started]
    assert ended == [(b"", 0)] * 4
    with Platform(Settings(home=str(home))) as session:
        versions = [version.version for version in session.datasets.versions("shared")]
        assert sorted(versions) == list(range(1, 21))
        found = {tuple(session.datasets.read("shared", version).row(0)) for version in versions}
    assert found == {(f"p{who}", number) for who in range(4) for number in range(5)}
