"""A cron expression names the times that crontab(5) says, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from mainspring.core.errors import InvalidRequest
from mainspring.runtime.cron import parse_cron

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)  # a Thursday


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("* * * * *", "2026-01-01 12:01"),
        ("*/15 * * * *", "2026-01-01 12:15"),
        ("0 12 * * *", "2026-01-02 12:00"),
        ("30 2 * * *", "2026-01-02 02:30"),
        ("5-10/5,40 13 * * *", "2026-01-01 13:05"),
        ("0 0 * * mon", "2026-01-05 00:00"),
        ("0 0 * * 7", "2026-01-04 00:00"),
        ("0 0 * * 0", "2026-01-04 00:00"),
        ("0 9 * * MON-FRI", "2026-01-02 09:00"),
        ("0 0 13 * fri", "2026-01-02 00:00"),
        ("0 0 13 * *", "2026-01-13 00:00"),
        ("0 0 */10 * fri", "2026-05-01 00:00"),
        ("0 0 31 * *", "2026-01-31 00:00"),
        ("0 0 31 apr,may *", "2026-05-31 00:00"),
        ("0 0 29 2 *", "2028-02-29 00:00"),
        ("50/3 12 * * *", "2026-01-01 12:50"),
        ("@daily", "2026-01-02 00:00"),
        ("@hourly", "2026-01-01 13:00"),
        ("@monthly", "2026-02-01 00:00"),
        ("@yearly", "2027-01-01 00:00"),
    ],
)
def test_the_next_time_is_that_of_crontab(expression: str, expected: str) -> None:
    assert parse_cron(expression).after(NOON) == datetime.fromisoformat(expected + "+00:00")


def test_a_time_itself_is_not_after_itself_and_seconds_count() -> None:
    times = parse_cron("0 * * * *")
    assert times.after(NOON) == NOON + timedelta(hours=1)
    assert times.after(NOON - timedelta(microseconds=1)) == NOON
    assert times.after(NOON.astimezone(timezone(timedelta(hours=5)))) == NOON + timedelta(hours=1)


@pytest.mark.parametrize(
    "expression",
    ["", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "*/0 * * * *", "a * * * *",
     "5-1 * * * *", "1,,2 * * * *", "- * * * *", "* * * * * *"],
)  # fmt: skip
def test_what_is_not_an_expression_is_refused(expression: str) -> None:
    with pytest.raises(InvalidRequest, match="expected"):
        parse_cron(expression)


def test_a_day_that_never_comes_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="never comes"):
        parse_cron("0 0 30 2 *").after(NOON)
