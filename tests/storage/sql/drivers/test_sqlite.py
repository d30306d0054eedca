"""What only SQLite can get wrong: durability, locks, disks."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select

from mainspring.core.errors import Corrupt, Unavailable
from mainspring.storage.sql.database import Database, open_database, sqlite_url
from mainspring.storage.sql.drivers.sqlite import SqliteDatabase
from mainspring.storage.sql.group_sync import GroupSync
from mainspring.testing.sql import scratch, things


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(sqlite_url(tmp_path / "a.db"))
    with opened.begin() as connection:
        scratch.create_all(connection)
    yield opened
    opened.close()


class Counted(GroupSync):
    """A shared sync of the log whose calls are counted."""

    def __init__(self, database: SqliteDatabase) -> None:
        self.syncs = 0

        def sync() -> None:
            self.syncs += 1
            database._sync_log()

        super().__init__(sync)


@pytest.fixture
def counted(database: Database) -> Counted:
    """The count of the syncs of the log."""
    assert isinstance(database, SqliteDatabase)
    counted = database._durable = Counted(database)
    return counted


def test_the_log_is_kept_ahead_and_synced_before_a_commit_is_told(
    database: Database, counted: Counted, tmp_path: Path
) -> None:
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
    for number in range(3):
        with database.begin() as connection:
            connection.execute(things.insert(), {"name": str(number)})
        assert counted.syncs == number + 1
    with database.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE more (a)")
    assert counted.syncs == 4
    assert (tmp_path / "a.db-wal").stat().st_size > 0


def test_what_wrote_nothing_or_was_taken_back_costs_no_sync(database: Database, counted: Counted) -> None:
    with database.begin() as connection:
        connection.execute(select(things)).all()
    with pytest.raises(RuntimeError), database.begin() as connection:
        connection.execute(things.insert(), {"name": "a"})
        raise RuntimeError
    assert counted.syncs == 0


def test_writers_share_the_sync_and_none_is_told_without_one(database: Database, counted: Counted) -> None:
    def write(writer: int) -> None:
        for number in range(25):
            with database.begin() as connection:
                connection.execute(things.insert(), {"name": f"{writer}-{number}"})

    with ThreadPoolExecutor(8) as pool:
        for written in [pool.submit(write, number) for number in range(8)]:
            written.result(60)
    with database.read() as connection:
        assert len(connection.execute(select(things.c.name)).all()) == 200
    assert 25 <= counted.syncs < 200


def test_a_log_that_cannot_be_synced_is_told(database: Database) -> None:
    assert isinstance(database, SqliteDatabase)

    def broken() -> None:
        raise OSError(errno.EIO, "Input/output error")

    database._durable = GroupSync(broken)
    with pytest.raises(Unavailable, match="cannot be synced to its disk: Input"), database.begin() as connection:
        connection.execute(things.insert(), {"name": "a"})


def test_those_who_read_before_they_write_take_turns(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(things.insert(), {"name": "0"})

    def count() -> None:
        for _ in range(10):
            with database.begin() as connection:
                seen = int(connection.execute(select(things.c.name)).scalar_one())
                connection.execute(things.update().values(name=str(seen + 1)))

    with ThreadPoolExecutor(4) as pool:
        for counted in [pool.submit(count) for _ in range(4)]:
            counted.result(60)
    with database.read() as connection:
        assert connection.execute(select(things.c.name)).scalar_one() == "40"


def test_a_full_disk_is_told_with_its_remedy(database: Database) -> None:
    with pytest.raises(Unavailable, match="the disk is full; free some space"), database.begin() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=12")
        connection.execute(things.insert(), {"name": "x" * 10**6})


def test_a_file_that_is_locked_for_ever_is_told(database: Database, tmp_path: Path) -> None:
    with database.read() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=50")
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="held its write lock"), database.begin():
        pass
    other.close()


def test_a_file_of_another_kind_is_damaged_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"somebody's letters" * 100)
    database = open_database(sqlite_url(tmp_path / "a.db"))
    with pytest.raises(Corrupt, match="restore it from a backup"), database.begin():
        pass
    assert (tmp_path / "a.db").read_bytes() == b"somebody's letters" * 100


def test_more_callers_than_connections_are_told_to_come_again(database: Database) -> None:
    database.engine.pool._timeout = 0.05  # type: ignore[attr-defined]
    held = [database.engine.connect() for _ in range(80)]
    with pytest.raises(Unavailable, match=r"every connection to .* is in use"), database.read():
        pass
    for connection in held:
        connection.close()
