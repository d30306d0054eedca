"""Trace context as W3C defines it."""

from __future__ import annotations

import pytest

from mainspring.runtime.telemetry.trace import Trace, current_trace, in_trace, new_trace, parse_traceparent

VALID = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_valid_header_is_read_and_written_back() -> None:
    trace = parse_traceparent(VALID)
    assert trace == Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", True)
    assert trace is not None and trace.traceparent == VALID
    assert parse_traceparent(VALID.encode()) == trace
    assert parse_traceparent("cc" + VALID[2:] + "-what-comes-later") == trace


@pytest.mark.parametrize(
    "header",
    [None, "", b"\xff", "ff" + VALID[2:], VALID + "-more", VALID.upper(), VALID[:-1], "00-" + "0" * 32 + VALID[35:],
     VALID[:36] + "0" * 16 + "-01", "x" * 10_000],
)  # fmt: skip
def test_a_header_that_is_not_valid_is_as_none(header: str | bytes | None) -> None:
    assert parse_traceparent(header) is None


def test_a_child_stays_in_its_trace() -> None:
    trace = new_trace()
    child = trace.child()
    assert (child.trace_id, child.span_id != trace.span_id) == (trace.trace_id, True)
    assert parse_traceparent(child.traceparent) == child


def test_work_belongs_to_a_trace_until_it_ends() -> None:
    trace = new_trace()
    with in_trace(trace):
        assert current_trace() == trace
    assert current_trace() is None
