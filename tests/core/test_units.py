"""Durations and sizes as people write them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.core.errors import InvalidRequest
from mainspring.core.units import format_bytes, format_duration, parse_bytes, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("1.5h", 5400), ("1h30m", 5400), ("250ms", 0.25), ("2 d", 172800), ("1w", 604800), ("0s", 0)],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "h", "5 years", "1h-30m", "-5s", "9" * 20 + "w"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (768_001, "1w2d"),
        (604_799, "1w"),
        (86_399, "1d"),
        (90_000, "1d1h"),
        (3_599.6, "1h"),
        (90, "1m30s"),
        (59.96, "1m"),
    ],
)
def test_a_duration_is_rounded_to_its_second_unit(seconds: float, written: str) -> None:
    assert format_duration(seconds) == written


@given(st.integers(1, 10**6))
def test_a_formatted_duration_reads_back_to_within_its_two_units(seconds: int) -> None:
    back = parse_duration(format_duration(float(seconds))).total_seconds()
    assert abs(back - seconds) <= max(0.1 * seconds, 0.5)


def test_sizes_are_read_in_both_systems() -> None:
    assert parse_bytes("64MiB") == 64 * 2**20
    assert parse_bytes("1.5 GB") == 1_500_000_000
    assert parse_bytes("512") == 512
    assert format_bytes(64 * 2**20) == "64MiB"
    for text in ("many", "9" * 400, "9" * 19, "\N{ARABIC-INDIC DIGIT THREE}"):
        with pytest.raises(InvalidRequest):
            parse_bytes(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.25, "250ms"), (0.9996, "1s"), (59.94, "59.9s"), (59.96, "1m"), (3599.6, "1h"), (0, "0ms")]
)
def test_a_duration_that_rounds_up_to_the_next_unit_is_written_in_it(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
