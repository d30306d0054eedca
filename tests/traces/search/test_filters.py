"""Searches find the traces that they mean, in the order asked for, page by page."""

from __future__ import annotations

from typing import Any

import pytest

from mainspring.core.errors import InvalidRequest
from mainspring.traces.model import NAME_TAG, Assessment
from mainspring.traces.service import Traces
from tests.traces.spans import came, span, trace


def judged(trace: str, kind: Any, name: str, value: Any, **also: Any) -> Assessment:
    return Assessment("", trace, name, kind, "HUMAN", value, **also)


@pytest.fixture
def filled(traces: Traces) -> Traces:
    llm = span("1" * 16, name="call", type="LLM", model="gpt-4", tokens=12, stream=True, **{"gen_ai.system": "open"})
    tool = span("2" * 16, name="find it", type="TOOL", parent="1" * 16, status="error", said="żółw 100%")
    traces.log_spans("e", [came("a", llm, tool, run="r1"), came("b", span("3" * 16, name="call", type="TOOL", n="x"))])
    traces.put_trace(
        trace("a", 1000, duration_ms=50, tags={NAME_TAG: "answer", "team": "ads"}, metadata={"user.id": "u1"}), run="r1"
    )
    traces.put_trace(trace("b", 2000, duration_ms=500, state="error", tags={"team": "Search"}, client_request="req-b"))
    traces.put_trace(trace("c", 3000, state="in_progress", tags={"team": "ads%"}))
    traces.put_trace(trace("d", 3000, experiment="other"))
    first = traces.assess(judged("a", "feedback", "good", True))
    traces.assess(judged("a", "feedback", "score", 0.75))
    traces.assess(judged("b", "feedback", "score", 1, source_id="x"))
    traces.assess(judged("b", "feedback", "good", "yes", created_ms=1))
    traces.assess(judged("c", "feedback", "score", "0.9"))
    traces.assess(judged("a", "expectation", "facts", ["Paris"]))
    traces.assess(judged("a", "feedback", "good", False, overrides=first.id))
    traces.assess(judged("c", "issue", "issue-1", "Slow"))
    traces.link("prompt", "greet/2", ["b"])
    return traces


def found(traces: Traces, where: str, **also: Any) -> str:
    return "".join(one.id for one in traces.search_traces(["e"], where, **also).traces)


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ("", "cba"),
        ("status = 'OK'", "a"),
        ("trace.status != 'ok'", "cb"),
        ("attributes.state IN ('OK', 'ERROR')", "ba"),
        ("status NOT IN ('OK')", "cb"),
        ("timestamp_ms > 1000", "cb"),
        ("timestamp >= 1000 AND timestamp < 3000", "ba"),
        ("timestamp BETWEEN 1000 AND 2000", "ba"),
        ("execution_time_ms <= 50", "a"),
        ("end_time > 2400", "cb"),
        ("request_id = 'a'", "a"),
        ("trace_id IN ('a', 'c')", "ca"),
        ("client_request_id LIKE 'req%'", "b"),
        ("client_request_id IS NULL", "ca"),
        ("name = 'answer'", "a"),
        ("name IS NOT NULL", "a"),
        ("run_id = 'r1'", "a"),
        ("run_id IN ('r1', 'r2')", "a"),
        ("prompt = 'greet/2'", "b"),
        ("tags.team = 'ads'", "a"),
        ("tag.team != 'ads'", "cb"),
        ("tags.`team` LIKE 'ads%'", "ca"),
        ("tags.\"team\" LIKE 'S%'", "b"),
        ("tags.team LIKE 's%'", ""),
        ("tags.team ILIKE 's%'", "b"),
        ("tags.team RLIKE '^ads.?$'", "ca"),
        ("tags.none IS NULL AND tags.team IS NOT NULL", "cba"),
        ("tags.none != 'x'", ""),
        ("NOT tags.team = 'ads'", "cb"),
        ("metadata.user.id = 'u1'", "a"),
        ("request_metadata.`user.id` = 'u1'", "a"),
        ("metadata.`user.id` IS NULL", "cb"),
        ("span.name = 'call'", "ba"),
        ("span.name = 'call' AND span.type = 'TOOL'", "b"),
        ("(span.name = 'call') AND (NOT span.type = 'LLM')", "b"),
        ("span.name LIKE 'find%' AND span.status = 'ERROR'", "a"),
        ("span.name = 'call' AND span.status = 'ERROR'", ""),
        ("span.type NOT IN ('TOOL')", "a"),
        ("span.type NOT IN ('TOOL') AND span.name = 'find it'", ""),
        ("span.type IS NULL", "c"),
        ("span.attributes.model = 'gpt-4'", "a"),
        ("span.attributes.tokens = '12'", "a"),
        ("span.attributes.stream = 'true'", "a"),
        ("span.attributes.gen_ai.system RLIKE '^op'", "a"),
        ("span.attributes.`gen_ai.system` ILIKE 'OP%'", "a"),
        ("span.attributes.n != 'y'", "b"),
        ("span.attributes.none = 'x'", ""),
        ("span.content LIKE '%żółw 100%'", "a"),
        ("trace.text ILIKE '%GPT-4%'", "a"),
        ("feedback.score > 0.7", "ba"),
        ("feedback.score >= 1", "b"),
        ("feedback.score < 0.9 AND status = 'OK'", "a"),
        ("feedback.score = '1'", "b"),
        ("feedback.score = '0.9'", "c"),
        ("feedback.good = 'true'", ""),
        ("feedback.good = 'false'", "a"),
        ("feedback.good = 'yes'", "b"),
        ("feedback.good != 'yes'", "a"),
        ("feedback.good IS NULL", "c"),
        ("feedback.good IS NOT NULL", "ba"),
        ("expectation.facts LIKE '%Paris%'", "a"),
        ("issue.id = 'issue-1'", "c"),
        ("status = 'OK' OR tags.team = 'Search'", "ba"),
        ("status = 'OK' AND (tags.team = 'x' OR NOT tags.team = 'y')", "a"),
    ],
)
def test_a_filter_keeps_what_it_says(filled: Traces, where: str, ids: str) -> None:
    assert found(filled, where) == ids


@pytest.mark.parametrize(
    "where",
    [
        "status",
        "status =",
        "status = OK",
        "status = 3",
        "status > 'OK'",
        "timestamp = 'x'",
        "timestamp LIKE '1%'",
        "nothing = 'x'",
        "metrics.x > 1",
        "span.color = 'x'",
        "span.attributes.`` = 'x'",
        "issue.name = 'x'",
        "feedback.score > '1'",
        "feedback.score = 1",
        "feedback.`` = 'x'",
        "prompt = 'greet'",
        "run_id LIKE 'r%'",
        "tags.team RLIKE '('",
        "tags.team = 'x' tags.team = 'y'",
        "tags.team = '\0'",
        "span.name = 'x' AND",
        f"tags.team LIKE '{'%' * 2000}'",
    ],
)
def test_a_filter_that_means_nothing_is_refused(filled: Traces, where: str) -> None:
    with pytest.raises(InvalidRequest):
        found(filled, where)


@pytest.mark.parametrize(
    ("order", "ids"),
    [
        (["timestamp ASC"], "abc"),
        (["timestamp_ms desc"], "cba"),
        (["execution_time ASC"], "abc"),
        (["execution_time DESC"], "bac"),
        (["status"], "bca"),
        (["tags.team", "timestamp"], "bac"),
        (["name DESC"], "acb"),
        (["metadata.`user.id`"], "acb"),
        (["run_id"], "acb"),
        (["request_id DESC"], "cba"),
    ],
)
def test_an_order_holds_over_pages_and_what_lacks_the_field_comes_last(
    filled: Traces, order: list[str], ids: str
) -> None:
    assert found(filled, "", order_by=order) == ids
    seen, page = "", None
    while True:
        part = filled.search_traces(["e"], "", order, limit=1, page=page)
        seen += "".join(one.id for one in part.traces)
        page = part.next_page
        if page is None:
            break
    assert seen == ids


@pytest.mark.parametrize("order", ["feedback.score", "span.name", "nothing", "timestamp up", "timestamp, status"])
def test_an_order_that_means_nothing_is_refused(filled: Traces, order: str) -> None:
    with pytest.raises(InvalidRequest):
        found(filled, "", order_by=[order])


def test_an_order_twice_a_foreign_page_and_too_many_at_once_are_refused(filled: Traces) -> None:
    page = filled.search_traces(["e"], limit=1).next_page
    wrong: list[dict[str, Any]] = [
        {"order_by": ["status", "state DESC"]},
        {"order_by": ["status"], "page": page},
        {"page": "x"},
        {"limit": 0},
        {"limit": 501},
    ]
    for one in wrong:
        with pytest.raises(InvalidRequest):
            found(filled, "", **one)


def test_traces_that_come_between_pages_shift_nothing(filled: Traces) -> None:
    page = filled.search_traces(["e"], limit=2)
    filled.put_trace(trace("z", 9000))
    rest = filled.search_traces(["e"], limit=2, page=page.next_page)
    assert [one.id for one in [*page.traces, *rest.traces]] == ["c", "b", "a"]
    assert [one.id for one in filled.search_traces(["e", "other"]).traces] == ["z", "c", "d", "b", "a"]
    assert filled.search_traces([]).traces == []


def test_no_pattern_takes_for_ever(filled: Traces) -> None:
    filled.set_tag("a", "long", "a" * 5000)
    assert found(filled, "tags.long RLIKE '^(a+)+$'") == "a"
    filled.set_tag("a", "long", "a" * 5000 + "!")
    assert found(filled, "tags.long RLIKE '^(a+)+$'") == ""
