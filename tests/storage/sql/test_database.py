"""The sql kit on both engines: transactions, readers, and errors that say what to do."""

import sqlite3
from pathlib import Path

import pytest

from mainspring.core.errors import Unavailable
from mainspring.storage.sql.database import open_database
from mainspring.testing.sql import DatabaseSuite, scratch, things


class TestDatabases(DatabaseSuite):
    """Both engines, as the fixture opens them."""


def test_sqlite_keeps_its_log_ahead_and_syncs_each_commit(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'a.db'}")
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
    database.close()


def test_a_full_disk_is_told_with_its_remedy(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'a.db'}")
    with database.begin() as connection:
        scratch.create_all(connection)
        connection.exec_driver_sql("PRAGMA max_page_count=12")
    with pytest.raises(Unavailable, match="the disk is full; free some space"), database.begin() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=12")
        connection.execute(things.insert(), {"name": "x" * 10**6})
    database.close()


def test_a_file_that_is_locked_for_ever_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mainspring.storage.sql.database._BUSY_TIMEOUT_MS", 50)
    database = open_database(f"sqlite:///{tmp_path / 'a.db'}")
    with database.begin() as connection:
        scratch.create_all(connection)
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="held its write lock"), database.begin():
        pass
    other.close()
    database.close()


def test_a_server_that_does_not_answer_is_unavailable() -> None:
    database = open_database("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(Unavailable, match="does not work"), database.begin():
        pass
