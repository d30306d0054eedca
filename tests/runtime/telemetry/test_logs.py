"""Logs: one JSON object per line, whatever is logged."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest

from mainspring.runtime.telemetry.logs import JsonLines, start_logs
from mainspring.runtime.telemetry.trace import in_trace, new_trace

log = logging.getLogger("mainspring.test")


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    level = root.level
    stream = io.StringIO()
    handler = start_logs("data", stream=stream)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


def written(lines: io.StringIO) -> list[dict[str, object]]:
    return [msgspec.json.decode(line) for line in lines.getvalue().splitlines()]


def test_an_event_is_one_line_with_its_fields_and_its_trace(lines: io.StringIO) -> None:
    trace = new_trace()
    with in_trace(trace):
        log.info("model %s\nloaded", "churn", extra={"rows": 3, "level": "mine"})
    (line,) = written(lines)
    assert (line["event"], line["level"], line["plane"], line["rows"]) == ("model churn\nloaded", "info", "data", 3)
    assert (line["trace_id"], line["span_id"]) == (trace.trace_id, trace.span_id)
    assert line["level_"] == "mine"


def test_an_error_carries_its_traceback(lines: io.StringIO) -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("it failed")
    assert "ValueError: broken" in str(written(lines)[0]["error"])


@contextmanager
def only(lines: io.StringIO) -> Iterator[None]:
    """Nobody else listens: pytest's own collector stumbles over odd records, and sends them between processes."""
    root = logging.getLogger()
    others = [one for one in root.handlers if not isinstance(one.formatter, JsonLines)]
    for other in others:
        root.removeHandler(other)
    yield
    for other in others:
        root.addHandler(other)


def test_what_json_does_not_know_is_still_logged(lines: io.StringIO) -> None:
    with only(lines):
        log.info("odd \ud800", extra={"object": object(), "keys": {object(): 1}, "number": float("nan")})
    assert len(written(lines)) == 1


class Shy:
    def __repr__(self) -> str:
        raise RuntimeError("ask me not")


def test_a_mistake_in_a_call_to_the_log_costs_no_line_of_it(
    lines: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    with only(lines):
        log.info("%d rows", "many")
        log.info("shown", extra={"who": Shy(), "deep": {1: [Shy()]}})
        log.info("%s", Shy())
        log.info("from here", stack_info=True)
    mistaken, shy, hidden, here = written(lines)
    assert "%d rows" in str(mistaken["event"]) and "many" in str(mistaken["event"])
    assert shy["who"] == "<Shy whose repr raises RuntimeError>"
    assert "RuntimeError" in str(hidden["event"])
    assert "test_a_mistake_in_a_call" in str(here["stack"])
    assert capfd.readouterr().err == ""


def test_starting_again_replaces_the_first(lines: io.StringIO) -> None:
    second = io.StringIO()
    handler = start_logs("control", stream=second)
    log.info("once")
    logging.getLogger().removeHandler(handler)
    assert (len(written(lines)), len(written(second))) == (0, 1)
