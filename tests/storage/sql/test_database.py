"""The sql kit on both engines: transactions, readers, and errors that say what to do."""

import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Column, MetaData, Table, Text, select

from mainspring.core.errors import InvalidRequest, Unavailable
from mainspring.storage.sql.database import Database, open_database
from mainspring.storage.sql.schema import Identity64, Instant, Packed, upsert


class Point(msgspec.Struct, frozen=True):
    x: int
    tags: list[str] = []


scratch = MetaData()
things = Table(
    "things",
    scratch,
    Column("id", Identity64, primary_key=True),
    Column("name", Text, unique=True),
    Column("at", Instant),
    Column("point", Packed(Point)),
)


@pytest.fixture
def store(database: Database) -> Database:
    with database.begin() as connection:
        scratch.create_all(connection)
    return database


def test_values_come_back_as_they_went_in(store: Database) -> None:
    at = datetime(2026, 11, 21, 8, 0, 0, 123456, tzinfo=UTC)
    with store.begin() as connection:
        connection.execute(things.insert(), {"name": "a", "at": at, "point": Point(1, ["x"])})
        connection.execute(things.insert(), {"name": "b", "at": None, "point": None})
    with store.read() as connection:
        rows = connection.execute(select(things.c.at, things.c.point).order_by(things.c.name)).all()
    assert [tuple(row) for row in rows] == [(at, Point(1, ["x"])), (None, None)]


def test_an_instant_without_a_time_zone_is_refused(store: Database) -> None:
    with pytest.raises(Exception, match="no time zone"), store.begin() as connection:
        connection.execute(things.insert(), {"name": "a", "at": datetime(2026, 1, 1)})


def test_an_exception_undoes_the_whole_transaction(store: Database) -> None:
    with pytest.raises(RuntimeError), store.begin() as connection:
        connection.execute(things.insert(), {"name": "a"})
        raise RuntimeError
    with store.read() as connection:
        assert connection.execute(select(things)).all() == []


def test_upsert_inserts_changes_or_leaves_alone(store: Database) -> None:
    with store.begin() as connection:
        assert upsert(connection, things, [{"name": "a", "point": Point(1)}], keys=["name"]) == 1
        upsert(connection, things, {"name": "a", "point": Point(2)}, keys=["name"])
        assert upsert(connection, things, {"name": "a", "point": Point(3)}, keys=["name"], update=[]) == 0
        assert upsert(connection, things, [], keys=["name"]) == 0
        assert connection.execute(select(things.c.point)).scalar_one() == Point(2)


def test_writers_wait_for_each_other_and_readers_do_not(store: Database) -> None:
    inside, go_on, failures = threading.Event(), threading.Event(), []

    def write() -> None:
        try:
            with store.begin() as connection:
                connection.execute(things.insert(), {"name": "slow"})
                inside.set()
                go_on.wait(10)
        except Exception as error:
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    assert inside.wait(10)
    with store.read() as connection:
        assert connection.execute(select(things)).all() == []
    second = threading.Thread(target=_insert, args=(store, failures))
    second.start()
    go_on.set()
    writer.join(10)
    second.join(10)
    assert failures == []
    with store.read() as connection:
        assert len(connection.execute(select(things)).all()) == 2


def _insert(store: Database, failures: list[Exception]) -> None:
    try:
        with store.begin() as connection:
            connection.execute(things.insert(), {"name": "second"})
    except Exception as error:
        failures.append(error)


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


@pytest.mark.parametrize("url", ["", "mysql://x", "sqlite://", "not a url"])
def test_a_url_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest, match="expected sqlite"):
        open_database(url)


def test_a_server_that_does_not_answer_is_unavailable() -> None:
    database = open_database("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(Unavailable, match="does not work"), database.begin():
        pass
