"""Events and their lineage are written together, in the caller's transaction, in the order of commits."""

import threading

import pytest

from mainspring.core.actor import acting_as
from mainspring.core.events import Edge, Event
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import edges_down, edges_up, emit, latest_events, read_events


class Baked(Event, frozen=True):
    cake: str
    flour: str

    def reads(self) -> list[str]:
        return [self.flour]

    def makes(self) -> list[str]:
        return [self.cake]


def test_an_event_is_stored_with_who_and_what_and_draws_its_edges(database: Database) -> None:
    with acting_as("ada", "http 127.0.0.1"), database.begin() as connection:
        number = emit(connection, Baked(cake="cake:a@1", flour="flour:b@2"))
    with database.read() as connection:
        (event,) = read_events(connection)
        assert (event.id, event.kind, event.actor, event.origin) == (number, "Baked", "ada", "http 127.0.0.1")
        assert event.body == {"cake": "cake:a@1", "flour": "flour:b@2"}
        edge = Edge("flour:b@2", "Baked", "cake:a@1")
        assert edges_up(connection, ["cake:a@1"]) == edges_down(connection, ["flour:b@2"]) == [edge]
        assert edges_up(connection, ["flour:b@2"]) == []


def test_a_transaction_that_fails_leaves_neither_event_nor_edge(database: Database) -> None:
    with pytest.raises(RuntimeError), database.begin() as connection:
        emit(connection, Baked(cake="cake:a@1", flour="flour:b@2"))
        raise RuntimeError
    with database.read() as connection:
        assert read_events(connection) == []
        assert edges_up(connection, ["cake:a@1"]) == []


def test_the_same_edge_is_drawn_once_however_often_it_happens(database: Database) -> None:
    with database.begin() as connection:
        for _ in range(3):
            emit(connection, Baked(cake="cake:a@1", flour="flour:b@2"))
    with database.read() as connection:
        assert len(read_events(connection)) == 3
        assert len(edges_up(connection, ["cake:a@1"])) == 1


def test_events_are_found_by_kind_and_by_the_refs_that_they_name(database: Database) -> None:
    with database.begin() as connection:
        emit(connection, Baked(cake="cake:a@1", flour="flour:b@2"))
        emit(connection, Baked(cake="cake:a@10", flour="flour:c@1"))
    with database.read() as connection:
        assert [e.body["cake"] for e in latest_events(connection, ref="cake:a@1")] == ["cake:a@1"]
        assert [e.body["cake"] for e in latest_events(connection, ref="flour:c@1")] == ["cake:a@10"]
        assert latest_events(connection, kind="Eaten") == []
        assert read_events(connection, after=1, kinds=["Baked"])[0].body["cake"] == "cake:a@10"


def test_who_has_read_up_to_a_number_has_missed_nothing(database: Database) -> None:
    stop, missed, position, seen = threading.Event(), [], 0, set()

    def write(name: str) -> None:
        for count in range(15):
            with database.begin() as connection:
                emit(connection, Baked(cake=f"cake:{name}@{count + 1}", flour="flour:b@1"))

    writers = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for writer in writers:
        writer.start()
    while not stop.is_set():
        if not any(writer.is_alive() for writer in writers):
            stop.set()
        with database.read() as connection:
            for event in read_events(connection, after=position):
                seen.add(event.id)
                position = event.id
    with database.read() as connection:
        missed = [event.id for event in read_events(connection) if event.id not in seen]
    assert missed == []
    assert len(seen) == 60
