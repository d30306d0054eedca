"""The suite that every database of the sql kit passes.

Use it in a test module of your own: subclass `DatabaseSuite` and give it a fixture ``database`` that opens an empty
one.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import msgspec
import pytest
from sqlalchemy import Column, MetaData, Table, Text, func, select

from mainspring.storage.sql.database import Database
from mainspring.storage.sql.schema import Identity64, Instant, Packed, upsert
from mainspring.testing.capabilities import expect_what_is_lacking

_WAIT_S = 20.0


class Point(msgspec.Struct, frozen=True):
    """A value that is kept in one column."""

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


class DatabaseSuite:
    """The rules of `Database`, one test each."""

    @pytest.fixture(autouse=True)
    def _lacking(self, request: pytest.FixtureRequest, database: Database) -> None:
        expect_what_is_lacking(request, database.lacks)

    @pytest.fixture
    def store(self, database: Database) -> Database:
        with database.begin() as connection:
            scratch.create_all(connection)
        return database

    def test_values_come_back_as_they_went_in(self, store: Database) -> None:
        at = datetime(2026, 11, 21, 8, 0, 0, 123456, tzinfo=UTC)
        with store.begin() as connection:
            connection.execute(things.insert(), {"name": "a", "at": at, "point": Point(1, ["x"])})
            connection.execute(things.insert(), {"name": "\N{SNOWMAN}", "at": None, "point": None})
        with store.read() as connection:
            rows = connection.execute(select(things.c.name, things.c.at, things.c.point).order_by(things.c.name)).all()
        assert [tuple(row) for row in rows] == [("a", at, Point(1, ["x"])), ("\N{SNOWMAN}", None, None)]

    def test_an_instant_before_1970_keeps_its_order(self, store: Database) -> None:
        early, late = datetime(1931, 5, 6, 7, 8, 9, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
        with store.begin() as connection:
            connection.execute(things.insert(), [{"name": "late", "at": late}, {"name": "early", "at": early}])
            assert connection.execute(select(things.c.at).order_by(things.c.at)).scalars().all() == [early, late]

    def test_an_instant_without_a_time_zone_is_refused(self, store: Database) -> None:
        with pytest.raises(Exception, match="no time zone"), store.begin() as connection:
            connection.execute(things.insert(), {"name": "a", "at": datetime(2026, 1, 1)})

    def test_an_exception_undoes_the_whole_transaction(self, store: Database) -> None:
        with pytest.raises(RuntimeError), store.begin() as connection:
            connection.execute(things.insert(), {"name": "a"})
            raise RuntimeError
        with store.read() as connection:
            assert connection.execute(select(things)).all() == []

    def test_what_was_committed_is_there_for_who_opens_it_next(self, store: Database) -> None:
        with store.begin() as connection:
            connection.execute(things.insert(), {"name": "a"})
        other = type(store).open(store.engine.url.render_as_string(hide_password=False))
        with other.read() as connection:
            assert connection.execute(select(things.c.name)).scalars().all() == ["a"]
        other.close()

    def test_numbers_count_up_and_a_name_stands_once(self, store: Database) -> None:
        with store.begin() as connection:
            ids = [
                connection.execute(things.insert().values(name=name).returning(things.c.id)).scalar_one()
                for name in ("a", "b", "c")
            ]
        assert ids == sorted(set(ids))
        with pytest.raises(Exception, match=r"(?i)unique"), store.begin() as connection:
            connection.execute(things.insert(), {"name": "a"})

    def test_upsert_inserts_changes_or_leaves_alone(self, store: Database) -> None:
        with store.begin() as connection:
            assert upsert(connection, things, [{"name": "a", "point": Point(1)}], keys=["name"]) == 1
            upsert(connection, things, {"name": "a", "point": Point(2)}, keys=["name"])
            assert upsert(connection, things, {"name": "a", "point": Point(3)}, keys=["name"], update=[]) == 0
            assert upsert(connection, things, [], keys=["name"]) == 0
            assert connection.execute(select(things.c.point)).scalar_one() == Point(2)

    def test_writers_wait_for_each_other_and_readers_do_not(self, store: Database) -> None:
        inside, go_on = threading.Event(), threading.Event()

        def write(name: str) -> None:
            with store.begin() as connection:
                connection.execute(things.insert(), {"name": name})
                inside.set()
                go_on.wait(_WAIT_S)

        with ThreadPoolExecutor(2) as pool:
            writers = [pool.submit(write, name) for name in ("first", "second")]
            assert inside.wait(_WAIT_S)
            with store.read() as connection:
                assert connection.execute(select(things)).all() == []
            go_on.set()
            for writer in writers:
                writer.result(_WAIT_S)
        with store.read() as connection:
            assert sorted(connection.execute(select(things.c.name)).scalars()) == ["first", "second"]

    def test_many_threads_that_count_in_one_row_lose_no_count(self, store: Database) -> None:
        def count() -> None:
            for _ in range(5):
                with store.begin() as connection:
                    connection.execute(things.update().values(at=things.c.at, name=things.c.name + "+"))

        with store.begin() as connection:
            connection.execute(things.insert(), {"name": ""})
        with ThreadPoolExecutor(4) as pool:
            for counted in [pool.submit(count) for _ in range(4)]:
                counted.result(_WAIT_S)
        with store.read() as connection:
            assert connection.execute(select(func.length(things.c.name))).scalar_one() == 20
