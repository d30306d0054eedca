"""Scorers have versions whose numbers are never given twice, on each database and at a distance."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.scorers.service import Scorers
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import latest_events


def known_experiment(id: str) -> None:
    if id not in ("1", "2"):
        raise NotFound(f"No Experiment with id={id} exists")


@pytest.fixture
def scorers(database: Database, reached: Callable[[Scorers], Scorers]) -> Scorers:
    return reached(Scorers(database, known_experiment))


def test_each_registration_is_the_next_version(scorers: Scorers) -> None:
    first = scorers.register("1", "polite/v 1", '{"a": "\\u0000 ż"}')
    second = scorers.register("1", "polite/v 1", '{"a": 2}')
    other = scorers.register("2", "polite/v 1", "{}")
    assert (first.version, second.version, other.version) == (1, 2, 1)
    assert first.scorer == second.scorer != other.scorer
    assert scorers.versions("1", "polite/v 1") == [first, second]
    assert scorers.get("1", "polite/v 1") == second
    assert scorers.get("1", "polite/v 1", 1) == first
    with pytest.raises(NotFound, match="'polite/v 1' and version 3 not found for experiment 1"):
        scorers.get("1", "polite/v 1", 3)
    with pytest.raises(NotFound, match="'other' not found"):
        scorers.versions("1", "other")
    with pytest.raises(NotFound, match="No Experiment with id=3"):
        scorers.register("3", "polite", "{}")


def test_the_last_version_of_each_is_listed(scorers: Scorers) -> None:
    for experiment, name in (("2", "a"), ("1", "b"), ("1", "a"), ("1", "a")):
        scorers.register(experiment, name, "{}")
    assert [(one.experiment, one.name, one.version) for one in scorers.list()] == [
        ("1", "a", 2),
        ("1", "b", 1),
        ("2", "a", 1),
    ]
    assert [one.name for one in scorers.list(["2", "9", "\0"])] == ["a"]
    assert scorers.list([]) == []


def test_a_number_is_not_given_again_while_the_scorer_is_there(scorers: Scorers) -> None:
    for _ in range(2):
        scorers.register("1", "a", "{}")
    scorers.delete("1", "a", 2)
    assert [one.version for one in scorers.versions("1", "a")] == [1]
    assert scorers.register("1", "a", "{}").version == 3
    scorers.set_online("1", "a", 0.5)
    before = scorers.get("1", "a").scorer
    scorers.delete("1", "a")
    with pytest.raises(NotFound):
        scorers.delete("1", "a")
    assert scorers.online([before]) == []
    again = scorers.register("1", "a", "{}")
    assert (again.version, again.scorer != before) == (1, True)
    with scorers.database.read() as connection:
        kinds = [event.kind for event in latest_events(connection)]
    assert (
        kinds
        == ["ScorerRegistered", "ScorerDeleted", "OnlineScoringSet", "ScorerRegistered", "ScorerDeleted"]
        + ["ScorerRegistered"] * 2
    )


def test_what_is_said_of_online_judging_replaces_what_was(scorers: Scorers) -> None:
    made, other = (scorers.register("1", name, "{}") for name in "ab")
    scorers.set_online("1", "a", 1, "status = 'OK'")
    last = scorers.set_online("1", "a", 0.25)
    assert scorers.online([made.scorer, other.scorer, made.scorer, "\0"]) == [last]
    assert (last.sample_rate, last.where, last.experiment) == (0.25, None, "1")
    for rate in (-0.1, 1.1):
        with pytest.raises(InvalidRequest, match="between"):
            scorers.set_online("1", "a", rate)
    with pytest.raises(NotFound):
        scorers.set_online("1", "c", 1)


@pytest.mark.parametrize(
    ("name", "definition"),
    [("", "{}"), (" ", "{}"), ("x" * 257, "{}"), ("a\0", "{}"), ("a", "{"), ("a", "[]"), ("a", '{"a": "\ud800"}')],
    ids=repr,
)
def test_what_is_no_scorer_is_refused(database: Any, name: str, definition: str) -> None:
    scorers = Scorers(database, known_experiment)
    with pytest.raises(InvalidRequest):
        scorers.register("1", name, definition)
    assert scorers.list() == []


def test_registrations_at_once_get_numbers_of_their_own(scorers: Scorers) -> None:
    got: list[int] = []

    def register() -> None:
        got.extend(scorers.register("1", "a", "{}").version for _ in range(5))

    threads = [threading.Thread(target=register) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == list(range(1, 21))
