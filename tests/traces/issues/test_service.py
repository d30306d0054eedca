"""Issues are named once for all the traces that show them, and the worst are found first."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mainspring.core.clock import ManualClock
from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import latest_events
from mainspring.traces.issues.model import Issue, IssueSeverity
from mainspring.traces.issues.service import Issues
from mainspring.traces.model import Assessment
from mainspring.traces.service import Traces
from tests.traces.spans import trace


def known_experiment(id: str) -> None:
    if id not in ("1", "2"):
        raise NotFound(f"No Experiment with id={id} exists")


@pytest.fixture
def issues(database: Database, clock: ManualClock, reached: Callable[[Issues], Issues]) -> Issues:
    return reached(Issues(database, known_experiment, clock))


def opened(issues: Issues, clock: ManualClock, name: str, severity: IssueSeverity | None = None) -> Issue:
    clock.advance(1)
    return issues.open("1", name, "what it is", severity=severity)


def test_an_issue_comes_back_as_it_was_opened(issues: Issues) -> None:
    made = issues.open("1", "slow", "too \0slow", "resolved", "high", ["a"], ["b", "c"], "r1", "ann")
    assert issues.get(made.id) == made
    assert made.id.startswith("iss-") and made.description == "too \ufffdslow"
    assert (made.status, made.severity, made.root_causes, made.categories) == ("resolved", "high", ["a"], ["b", "c"])
    assert (made.run, made.created_by, made.traces, made.updated) == ("r1", "ann", None, made.created)
    with issues.database.read() as connection:
        (event,) = latest_events(connection)
    assert (event.kind, event.reads, event.makes) == ("IssueOpened", ["run:r1"], [f"issue:{made.id}"])


def test_what_is_given_changes(issues: Issues, clock: ManualClock) -> None:
    made = opened(issues, clock, "slow", "low")
    clock.advance(1)
    changed = issues.change(made.id, status="rejected", name="slower")
    assert (changed.name, changed.description, changed.status, changed.severity) == (
        "slower", "what it is", "rejected", "low",
    )  # fmt: skip
    assert changed.updated > made.updated == changed.created
    assert issues.get(made.id) == changed


def test_the_worst_are_found_first_and_of_those_the_newest(issues: Issues, clock: ManualClock) -> None:
    for name, severity in (
        ("a", None),
        ("b", "low"),
        ("c", "high"),
        ("d", "not_an_issue"),
        ("e", "high"),
        ("f", "medium"),
    ):
        opened(issues, clock, name, severity)
    issues.open("2", "other", "x", severity="high")
    assert [one.name for one in issues.search("1").issues] == ["e", "c", "f", "b", "d", "a"]
    first = issues.search("1", limit=4)
    assert [one.name for one in issues.search("1", limit=4, page=first.next_page).issues] == ["d", "a"]
    assert [one.name for one in issues.search(where="severity = 'high' AND name != 'e'").issues] == ["other", "c"]
    assert [one.name for one in issues.search("1", "severity IS NULL OR severity = 'low'").issues] == ["b", "a"]
    assert issues.search("\0").issues == []


def test_traces_that_show_an_issue_are_counted(issues: Issues, traces: Traces, clock: ManualClock) -> None:
    rare, often, never = (opened(issues, clock, name) for name in ("rare", "often", "never"))
    for n in range(3):
        traces.put_trace(trace(f"t{n}"))
        for again in range(2):
            traces.assess(Assessment(f"a{n}{again}", f"t{n}", often.id, "issue", "CODE", value="often"))
    traces.assess(Assessment("x", "t0", rare.id, "issue", "CODE", value="rare"))
    traces.assess(Assessment("y", "t0", never.id, "feedback", "CODE", value=1))
    found = issues.search(count_traces=True).issues
    assert [(one.name, one.traces) for one in found] == [("often", 3), ("rare", 1), ("never", 0)]


def test_what_is_no_issue_is_refused(issues: Issues) -> None:
    with pytest.raises(NotFound, match="No Experiment with id=3"):
        issues.open("3", "a", "b")
    for name, description in (("", "x"), ("x" * 251, "x"), ("x", "")):
        with pytest.raises(InvalidRequest):
            issues.open("1", name, description)
    for where in ("nonsense = 'a'", "status > 'a'", "status = 1", "tags.a = 'b'"):
        with pytest.raises(InvalidRequest):
            issues.search(where=where)
    for id in ("iss-none", "iss-\ud800"):
        with pytest.raises((NotFound, UnicodeEncodeError), match=r"not found|surrogates"):
            issues.get(id)
    assert issues.search().issues == []
