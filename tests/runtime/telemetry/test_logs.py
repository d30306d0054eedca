"""Logs: one JSON object per line, whatever is logged."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

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


def test_what_json_does_not_know_is_still_logged(lines: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    # pytest collects what is logged and sends it between its processes, where a lone surrogate cannot go.
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [one for one in root.handlers if isinstance(one.formatter, JsonLines)])
    log.info("odd \ud800", extra={"object": object(), "keys": {object(): 1}, "number": float("nan")})
    assert len(written(lines)) == 1


def test_starting_again_replaces_the_first(lines: io.StringIO) -> None:
    second = io.StringIO()
    handler = start_logs("control", stream=second)
    log.info("once")
    logging.getLogger().removeHandler(handler)
    assert (len(written(lines)), len(written(second))) == (0, 1)
