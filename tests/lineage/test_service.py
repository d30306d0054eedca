"""Lineage is followed both ways, to a depth, through forks and circles; the journal is read newest first."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.core.events import Event
from mainspring.lineage.service import Lineage
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import emit


class Made(Event, frozen=True):
    sources: list[str]
    target: str

    def reads(self) -> list[str]:
        return self.sources

    def makes(self) -> list[str]:
        return [self.target]


@pytest.fixture
def lineage(database: Database, reached: Callable[[Lineage], Lineage]) -> Lineage:
    chain = [
        Made(sources=["object:a"], target="dataset:trips@1"),
        Made(sources=["dataset:trips@1"], target="run:1"),
        Made(sources=["dataset:trips@1"], target="run:2"),
        Made(sources=["run:1", "run:2"], target="model:trips@1"),
        Made(sources=["model:trips@1"], target="release:trips@1"),
    ]
    with database.begin() as connection:
        for event in chain:
            emit(connection, event)
    return reached(Lineage(database))


def test_up_leads_to_the_sources_through_every_fork(lineage: Lineage) -> None:
    edges = lineage.trace("release:trips@1").edges
    assert [(e.source, e.target) for e in edges] == [
        ("model:trips@1", "release:trips@1"),
        ("run:1", "model:trips@1"),
        ("run:2", "model:trips@1"),
        ("dataset:trips@1", "run:1"),
        ("dataset:trips@1", "run:2"),
        ("object:a", "dataset:trips@1"),
    ]


def test_down_leads_to_everything_that_was_touched(lineage: Lineage) -> None:
    touched = {e.target for e in lineage.trace("object:a", "down").edges}
    assert touched == {"dataset:trips@1", "run:1", "run:2", "model:trips@1", "release:trips@1"}


def test_both_ways_and_a_depth(lineage: Lineage) -> None:
    near = {(e.source, e.target) for e in lineage.trace("run:1", "both", depth=1).edges}
    assert near == {("dataset:trips@1", "run:1"), ("run:1", "model:trips@1")}


def test_a_circle_ends(lineage: Lineage) -> None:
    with lineage.database.begin() as connection:
        emit(connection, Made(sources=["release:trips@1"], target="object:a"))
    assert len(lineage.trace("release:trips@1").edges) == 7


def test_a_limit_cuts_and_says_so(lineage: Lineage) -> None:
    trace = lineage.trace("release:trips@1", limit=2)
    assert (len(trace.edges), trace.cut) == (2, True)


def test_a_ref_that_nobody_named_is_not_found_and_one_without_edges_is_empty(lineage: Lineage) -> None:
    with pytest.raises(NotFound, match="no event names model:other@1"):
        lineage.trace("model:other@1")
    with pytest.raises(InvalidRequest):
        lineage.trace("not a ref")
    with lineage.database.begin() as connection:
        emit(connection, Made(sources=[], target="model:alone@1"))
    assert lineage.trace("model:alone@1").edges == []


def test_events_come_newest_first_and_by_ref(lineage: Lineage) -> None:
    assert [e.makes for e in lineage.events(limit=2)] == [["release:trips@1"], ["model:trips@1"]]
    assert [e.makes for e in lineage.events(ref="run:2")] == [["model:trips@1"], ["run:2"]]
    with pytest.raises(InvalidRequest, match="limit"):
        lineage.events(limit=0)
