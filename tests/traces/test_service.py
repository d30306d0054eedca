"""Traces are taken in exactly once and whole, whatever comes twice, late or out of order."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from mainspring.core.clock import ManualClock
from mainspring.core.errors import InvalidData, InvalidRequest, NotFound
from mainspring.storage.sql.journal import latest_events
from mainspring.traces.model import Assessment, Origin, Span, SpanEvent, SpanLink
from mainspring.traces.service import Traces
from tests.traces.spans import SECOND_NS, came, span, trace

ROOT, CHILD = "a" * 16, "b" * 16
RICH: dict[str, Any] = {
    "none": None,
    "yes": True,
    "whole": 2**62,
    "one": 1.0,
    "text": "żółw \0 '\"",
    "bytes": b"\x00\xff",
    "nan": math.nan,
    "endless": -math.inf,
    "list": [1, 2.5, "x", [True, b"y"]],
    "map": {"a": {"b": [1]}, "": 0},
    "looks marked": {"$bytes": "no"},
    "looks marked twice": {"$map": {"$float": 1}},
}


def feedback(trace: str, name: str = "good", value: Any = True, **also: Any) -> Assessment:
    return Assessment("", trace, name, "feedback", "HUMAN", value, **also)


def same(one: object, other: object) -> bool:
    return repr(one) == repr(other)


def test_a_span_comes_back_whole_and_exact(traces: Traces) -> None:
    kept = Span(
        "0" * 31 + "7",
        ROOT,
        "größe \0",
        1_700_000_000_123_456_789,
        1_700_000_000_123_456_790,
        parent=CHILD,
        type="LLM",
        kind=3,
        status="error",
        message="no",
        attributes=RICH,
        events=[SpanEvent("e", 1_700_000_000_123_456_788, RICH, 4)],
        links=[SpanLink("1" * 32, "2" * 16, RICH, "s=1", 5, 6)],
        state="a=b",
        flags=257,
        dropped_attributes=1,
        dropped_events=2,
        dropped_links=3,
        origin=Origin(RICH, "lib", "1.0", RICH),
    )
    traces.log_spans("e", [came("t", kept)])
    assert same(traces.spans(["t"])["t"], [kept])


def test_spans_sent_again_are_there_once(traces: Traces) -> None:
    batch = [came("t", span(ROOT), span(CHILD, parent=ROOT)), came("u", span(ROOT))]
    for _ in range(3):
        traces.log_spans("e", batch)
    found = traces.spans(["t", "u", "none"])
    assert [[one.id for one in spans] for spans in found.values()] == [[ROOT, CHILD], [ROOT], []]
    assert [one.id for one in traces.search_traces(["e"]).traces] == ["t", "u"]


def test_a_span_that_ended_is_not_undone_by_a_message_from_before(traces: Traces) -> None:
    traces.log_spans("e", [came("t", span(ROOT, took_s=None))])
    assert traces.get_trace("t").state == "in_progress" and traces.get_trace("t").duration_ms is None
    traces.log_spans("e", [came("t", span(ROOT, took_s=2), span(ROOT, took_s=None))])
    traces.log_spans("e", [came("t", span(ROOT, took_s=None))])
    assert [one.ended_ns for one in traces.spans(["t"])["t"]] == [1002 * SECOND_NS]
    assert traces.get_trace("t").state == "ok"


def test_time_and_state_follow_from_the_spans_whatever_their_order(traces: Traces) -> None:
    traces.log_spans("e", [came("t", span(CHILD, at_s=1001, took_s=9, parent=ROOT, status="error"))])
    before = traces.get_trace("t")
    assert (before.started_ms, before.duration_ms, before.state) == (1_001_000, 9_000, "in_progress")
    traces.log_spans("e", [came("t", span(ROOT, at_s=1000, took_s=3, status="unset"))])
    after = traces.get_trace("t")
    assert (after.started_ms, after.duration_ms, after.state) == (1_000_000, 10_000, "ok")
    traces.log_spans("e", [came("u", span(ROOT, status="error"))])
    assert traces.get_trace("u").state == "error"


@pytest.mark.parametrize("spans_first", [True, False])
def test_what_its_writer_says_of_a_trace_stands_whenever_the_spans_come(traces: Traces, spans_first: bool) -> None:
    stated = trace("t", 5, duration_ms=7, tags={"a": "1"}, metadata={"m": "stated"}, client_request="c", request="q")
    spans = came("t", span(ROOT), tags={"b": "2"}, metadata={"m": "guessed", "n": "3"}, request="guess", response="r")
    steps = [lambda: traces.log_spans("e", [spans]), lambda: traces.put_trace(stated)]
    for step in steps if spans_first else reversed(steps):
        step()
    found = traces.get_trace("t")
    assert (found.started_ms, found.duration_ms, found.state, found.complete, found.has_spans) == (
        5,
        7,
        "ok",
        True,
        True,
    )
    assert found.tags == {"a": "1", "b": "2"} and found.metadata == {"m": "stated", "n": "3"}
    assert (found.client_request, found.request, found.response) == ("c", "q", "r")


def test_a_trace_stated_again_is_one_with_its_assessments(traces: Traces) -> None:
    judged = [feedback("", value=1, created_ms=5), feedback("", value=1, created_ms=5), feedback("", "other", 2)]
    first = traces.put_trace(trace("t", assessments=judged))
    assert traces.put_trace(trace("t", assessments=judged)) == first
    assert [(one.trace, one.name, one.value) for one in first.assessments] == [
        ("t", "other", 2),
        ("t", "good", 1),
        ("t", "good", 1),
    ]


def nested(depth: int) -> Any:
    return [] if depth == 0 else [nested(depth - 1)]


WRONG = {
    "starts too late": span(at_s=2**40),
    "ends too late": span(took_s=2**40),
    "long id": span("x" * 200),
    "nested": span(x=nested(70)),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_one_span_that_cannot_be_kept_keeps_out_the_whole_batch(traces: Traces, wrong: str) -> None:
    with pytest.raises((InvalidData, InvalidRequest)):
        traces.log_spans("e", [came("t", span(ROOT)), came("u", WRONG[wrong])])
    assert traces.list_traces(["t", "u"]) == []


def test_what_spans_count_is_summed_over_all_of_them_unless_their_writer_has_said_it(traces: Traces) -> None:
    def total(spans: Sequence[Span]) -> dict[str, str]:
        return {"tokens": str(sum(one.attributes.get("tokens", 0) for one in spans))}

    for id in (ROOT, CHILD, ROOT):
        traces.log_spans("e", [came("t", span(id, tokens=2), counts=True), came("u", span(id))], total)
    assert (traces.get_trace("t").metadata, traces.get_trace("u").metadata) == ({"tokens": "4"}, {})
    traces.put_trace(trace("t", metadata={"tokens": "7"}))
    traces.log_spans("e", [came("t", span("c" * 16, tokens=2), counts=True)], total)
    assert traces.get_trace("t").metadata == {"tokens": "7"}


def test_writers_of_the_same_traces_at_once_lose_nothing(traces: Traces) -> None:
    failed: list[Exception] = []

    def write(writer: int) -> None:
        try:
            for number in range(5):
                one = span(f"{writer:08x}{number:08x}", parent=ROOT, at_s=1000 + writer)
                order = ["t", "u"] if writer % 2 else ["u", "t"]
                traces.log_spans("e", [came(name, one) for name in order])
                traces.put_trace(trace("t" if writer % 2 else "u"))
        except Exception as error:
            failed.append(error)

    writing = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in writing:
        thread.start()
    for thread in writing:
        thread.join(60)
    assert failed == []
    assert [len(found) for found in traces.spans(["t", "u"]).values()] == [20, 20]


def test_previews_tags_and_metadata_are_cut_to_what_is_kept(traces: Traces) -> None:
    traces.put_trace(trace("t", request="x" * 5000, tags={"a": "y" * 9000, "nul": "\0"}))
    found = traces.get_trace("t")
    assert found.request == "x" * 997 + "..." and found.tags == {"a": "y" * 8000, "nul": "\ufffd"}
    for key in ("", "k" * 251, "a\nb"):
        with pytest.raises(InvalidRequest, match="key of a tag"):
            traces.set_tag("t", key, "v")


def test_tags_are_set_and_removed(traces: Traces) -> None:
    traces.put_trace(trace("t", tags={"a": "1"}))
    traces.set_tag("t", "a", "2")
    traces.set_tag("t", "b", "3")
    traces.delete_tag("t", "b")
    assert traces.get_trace("t").tags == {"a": "2"}
    with pytest.raises(NotFound, match="No tag with key 'b'"):
        traces.delete_tag("t", "b")
    for change in (lambda: traces.set_tag("u", "a", "1"), lambda: traces.delete_tag("u", "a")):
        with pytest.raises(NotFound, match="'u' not found"):
            change()


def test_traces_are_deleted_with_all_that_belongs_to_them_and_the_oldest_first(traces: Traces) -> None:
    for number in range(6):
        traces.log_spans("e", [came(f"t{number}", span(at_s=number), tags={"a": "b"}, metadata={"c": "d"}, run="r")])
        traces.assess(feedback(f"t{number}"))
    assert traces.delete_traces("other", until_ms=10**12) == 0
    assert traces.delete_traces("e", ["t5", "none"]) == 1
    assert traces.delete_traces("e", until_ms=3_000, most=2) == 2
    assert traces.delete_traces("e", until_ms=3_000) == 2
    assert [one.id for one in traces.search_traces(["e"]).traces] == ["t4"]
    assert traces.spans(["t0", "t4"])["t0"] == []
    with traces.database.read() as connection:
        deleted = [event.body for event in latest_events(connection, kind="TracesDeleted")]
    assert [body["traces"] for body in deleted] == [2, 2, 1]
    for wrong in ({}, {"traces": ["t"], "until_ms": 1}, {"traces": ["t"], "most": 1}, {"until_ms": 1, "most": 0}):
        with pytest.raises(InvalidRequest):
            traces.delete_traces("e", **wrong)


def test_an_assessment_sent_again_is_there_once_and_another_is_another(traces: Traces, clock: ManualClock) -> None:
    traces.put_trace(trace("t"))
    one = traces.assess(feedback("t", created_ms=5))
    assert traces.assess(feedback("t", created_ms=5)) == one
    traces.assess(feedback("t", created_ms=6))
    traces.assess(feedback("t", value=False, created_ms=5))
    undated = traces.assess(feedback("t"))
    assert undated.created_ms == undated.updated_ms == round(clock.now().timestamp() * 1000)
    assert len(traces.get_trace("t").assessments) == 4
    with pytest.raises(NotFound, match="'none' not found"):
        traces.assess(feedback("none"))


def test_what_is_overridden_holds_again_when_the_other_goes(traces: Traces) -> None:
    traces.put_trace(trace("t"))
    first = traces.assess(feedback("t"))
    second = traces.assess(feedback("t", value=False, overrides=first.id))
    assert [traces.get_assessment("t", id).valid for id in (first.id, second.id)] == [False, True]
    traces.delete_assessment("t", second.id)
    traces.delete_assessment("t", second.id)
    assert traces.get_trace("t").assessments == [first]
    with pytest.raises(NotFound, match="'a-none' not found"):
        traces.assess(feedback("t", value=0, overrides="a-none"))
    assert traces.get_trace("t").assessments == [first]


def test_an_assessment_changes_but_never_its_kind(traces: Traces, clock: ManualClock) -> None:
    traces.put_trace(trace("t"))
    first = traces.assess(feedback("t", metadata={"a": "1"}, rationale="why", created_ms=1))
    after = traces.change_assessment("t", first.id, {"kind": "feedback", "value": None, "error": {"error_code": "E"}})
    assert (after.value, after.error, after.rationale) == (None, {"error_code": "E"}, "why")
    after = traces.change_assessment("t", first.id, {"name": "n", "rationale": "because"}, {"b": "2"})
    assert (after.name, after.rationale, after.metadata, after.created_ms) == ("n", "because", {"a": "1", "b": "2"}, 1)
    assert after.updated_ms == round(clock.now().timestamp() * 1000)
    assert traces.get_assessment("t", first.id) == after
    with pytest.raises(InvalidRequest, match="stays"):
        traces.change_assessment("t", first.id, {"kind": "expectation", "value": 1})
    with pytest.raises(NotFound, match="Assessment with ID 'none'"):
        traces.change_assessment("t", "none", {})
    with pytest.raises(NotFound, match="Assessment with ID 'none'"):
        traces.get_assessment("t", "none")
    with pytest.raises(NotFound, match="Trace with ID 'u'"):
        traces.get_assessment("u", "none")


def test_traces_that_are_not_there_are_not_linked(traces: Traces) -> None:
    traces.put_trace(trace("t"), run="first")
    for _ in range(2):
        traces.link("run", "second", ["t", "none"])
    for run, found in (("first", ["t"]), ("second", ["t"]), ("third", [])):
        assert [one.id for one in traces.search_traces(["e"], f"run_id = '{run}'").traces] == found
    with pytest.raises(InvalidRequest, match="more than 100"):
        traces.link("run", "r", [str(number) for number in range(101)])
