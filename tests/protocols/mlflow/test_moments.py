"""Times and durations are read and written as proto3's JSON has them."""

from __future__ import annotations

import pytest

from mainspring.core.errors import InvalidRequest
from mainspring.protocols.mlflow.moments import duration_of, duration_text, milliseconds_of, moment_text


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (1_769_860_800_250, "2026-01-31T12:00:00.250Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
    ],
)
def test_a_moment_is_the_same_after_a_journey(ms: int, text: str) -> None:
    assert moment_text(ms) == text and milliseconds_of(text, "at") == ms


def test_a_moment_may_have_a_zone_and_nanoseconds() -> None:
    assert milliseconds_of("1970-01-01T01:00:00.123456789+01:00", "at") == 123
    assert milliseconds_of("1970-01-01T00:00:01", "at") == 1000


def test_a_moment_out_of_the_calendar_is_written_as_its_end() -> None:
    assert moment_text(2**62).startswith("9999-12-31") and moment_text(-(2**62)).startswith("0001-01-01")


@pytest.mark.parametrize(
    ("ms", "text"), [(0, "0s"), (1, "0.001s"), (1500, "1.500s"), (60_000, "60s"), (-250, "-0.250s")]
)
def test_a_duration_is_the_same_after_a_journey(ms: int, text: str) -> None:
    assert duration_text(ms) == text and duration_of(text, "took") == ms


@pytest.mark.parametrize("text", ["", "1", "1.s", "s", "1e3s", "1s "])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="took"):
        duration_of(text, "took")


def test_what_is_no_moment_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="at is 'noon'"):
        milliseconds_of("noon", "at")
