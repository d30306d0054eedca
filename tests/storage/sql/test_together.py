"""Works of several callers: each whole or not at all, all durable, and none in another's way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, insert

from mainspring.core.errors import Conflict, Unavailable
from mainspring.storage.sql.database import Database, Transaction, open_database
from mainspring.storage.sql.statements import Statement, listed

_tables = MetaData()
notes = Table(
    "test_notes", _tables, Column("id", Integer, primary_key=True), Column("text", Text, nullable=False, unique=True)
)
_ADD = Statement("INSERT INTO test_notes (text) VALUES (?)")
_ALL = Statement("SELECT text FROM test_notes ORDER BY text")
_SOME = Statement(
    "SELECT text FROM test_notes WHERE text IN (SELECT value FROM json_each(?)) ORDER BY text",
    postgresql="SELECT text FROM test_notes WHERE text = ANY(?) ORDER BY text",
)

Write = Callable[[Transaction], Any]


@pytest.fixture
def either(database: Database) -> Database:
    with database.begin() as connection:
        _tables.create_all(connection)
    return database


@pytest.fixture
def sqlite_file(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'mainspring.db'}"


@pytest.fixture
def file(sqlite_file: str) -> Iterator[Database]:
    opened = open_database(sqlite_file)
    with opened.begin() as connection:
        _tables.create_all(connection)
    yield opened
    opened.close()


def writes(*texts: str) -> Write:
    return lambda connection: [_ADD.run(connection, (text,)) for text in texts]


def fails_after(*texts: str) -> Write:
    def work(connection: Transaction) -> None:
        writes(*texts)(connection)
        raise Conflict("no")

    return work


def texts(database: Database) -> list[str]:
    with database.read() as connection:
        return [text for (text,) in _ALL.rows(connection)]


@pytest.mark.parametrize("wait", [True, False])
def test_a_work_that_fails_takes_nothing_of_the_others_with_it(either: Database, wait: bool) -> None:
    outcomes = either.together([writes("a"), fails_after("b", "c"), writes("d", "e"), writes("a")], wait=wait)
    if outcomes is None:
        assert either.dialect == "postgresql"  # Each call waits for the network.
        return
    assert (outcomes[0], outcomes[2]) == ([1], [1, 1])
    assert isinstance(outcomes[1], Conflict)
    assert isinstance(outcomes[3], Exception)
    assert texts(either) == ["a", "d", "e"]


def test_without_waiting_nothing_is_done_while_somebody_else_writes(file: Database, sqlite_file: str) -> None:
    elsewhere = open_database(sqlite_file)
    with file.begin():
        assert file.together([writes("a")], wait=False) is None
    with elsewhere.begin():
        assert file.together([writes("a")], wait=False) is None
    assert texts(file) == []
    assert file.together([writes("a")], wait=False) == [[1]]
    assert texts(elsewhere) == ["a"]
    elsewhere.close()


def test_a_work_may_also_speak_through_sqlalchemy(file: Database) -> None:
    def work(connection: Transaction) -> None:
        connection.execute(insert(notes).values(text="a"))

    for _ in range(2):
        outcomes = file.together([work, writes("b")], wait=False) or []
        assert len(outcomes) == 2
    assert texts(file) == ["a", "b"]


def test_what_cannot_be_made_durable_is_acknowledged_to_nobody(file: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(file: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("mainspring.storage.sql.drivers.sqlite.flush_file", broken)
    with pytest.raises(Unavailable, match="cannot be synced"):
        file.together([writes("a")], wait=False)


def test_what_ends_the_transaction_ends_it_for_all_and_the_next_one_goes_on(file: Database) -> None:
    def full(connection: Transaction) -> None:
        writes("b")(connection)
        driver: Any = connection.connection.driver_connection
        driver.execute("ROLLBACK")  # As SQLite does by itself when the disk is full.
        raise Conflict("lost")

    with pytest.raises(Conflict, match="lost"):
        file.together([writes("a"), full], wait=False)
    assert texts(file) == []
    assert file.together([writes("c")], wait=False) == [[1]]
    assert texts(file) == ["c"]


def test_many_threads_lose_nothing(either: Database) -> None:
    def work(number: int) -> None:
        for turn in range(10):
            either.together([writes(f"{number:02}-{turn:02}-{part}") for part in range(3)])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(texts(either)) == 120


def test_a_list_is_one_value_of_a_statement(either: Database) -> None:
    either.carry_out(writes("a", "b%", 'c"?', "d"))
    with either.read() as connection:
        assert _SOME.rows(connection, (listed(connection, ["b%", 'c"?', "x"]),)) == [("b%",), ('c"?',)]
        assert _SOME.first(connection, (listed(connection, []),)) is None
