"""Failed predictions are told in the log: with the trace of the caller, and bounded."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from mainspring.core.errors import Unavailable
from mainspring.runtime.http.request import Request
from mainspring.runtime.telemetry.logs import JsonLines
from mainspring.serving.engine import failures
from mainspring.serving.engine.failures import FailureLog

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Nobody:
    """A connection that nobody listens to."""

    lost = False

    def answered(self, request: Request) -> None:
        """Do nothing."""


def request(**fields: str) -> Request:
    """A request with header fields."""
    header = [part.encode() for field in fields.items() for part in field]
    return Request(Nobody(), b"POST", b"/", header, b"", True, "1.1", tuple(header[::2]))


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is written to the log, as JSON lines."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    failures.log.addHandler(handler)
    yield stream
    failures.log.removeHandler(handler)


def test_a_failure_names_its_prediction_its_arm_and_the_trace_of_its_caller(lines: io.StringIO) -> None:
    traced = request(traceparent=f"00-{TRACE}-00f067aa0ba902b7-01")
    FailureLog("churn", "canary", "release:churn@2").tell(traced, "01J", Unavailable("the model is down"))
    line = json.loads(lines.getvalue())
    assert line["event"] == "a prediction failed: the model is down"
    assert (line["trace_id"], line["prediction_id"], line["status"]) == (TRACE, "01J", 503)
    assert (line["endpoint"], line["arm"], line["release"]) == ("churn", "canary", "release:churn@2")


def test_a_flood_of_failures_is_one_line_and_the_next_one_tells_how_many(
    lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = FailureLog("churn", "stable", "release:churn@1")
    for _ in range(100):
        told.tell(request(), "01J", Unavailable("down"))
    monkeypatch.setattr(failures, "PAUSE_S", 0.0)
    told.tell(request(), "01J", Unavailable("down"))
    assert [json.loads(line)["unsaid"] for line in lines.getvalue().splitlines()] == [0, 99]
