"""Cron expressions of five fields, in UTC, with the rules of crontab(5)."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import msgspec

from mainspring.core.errors import InvalidRequest

_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
_NAMES = {
    "month": ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    "day of week": ["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
}
_SHORTHANDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
# 29 February of a leap year may be this far away, over a century that has none (1896 to 1904).
_HORIZON_DAYS = 366 * 8 + 2


class CronTimes(msgspec.Struct, frozen=True):
    """The times that an expression names. Days match by either field when both are restricted."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool

    def after(self, moment: datetime) -> datetime:
        """Give the first time later than *moment* (aware). Raises InvalidRequest when there is none, as 30 February."""
        start = moment.astimezone(UTC)
        for offset in range(_HORIZON_DAYS):
            day = (start + timedelta(days=offset)).date()
            if day.month not in self.months or not self._has_day(day.day, day.isoweekday() % 7):
                continue
            for hour in self.hours:
                for minute in self.minutes:
                    found = datetime.combine(day, time(hour, minute), UTC)
                    if found > start:
                        return found
        raise InvalidRequest("the cron expression names a day that never comes: check day of month and month")

    def _has_day(self, day: int, weekday: int) -> bool:
        if self.either_day:
            return day in self.days or weekday in self.weekdays
        return day in self.days and weekday in self.weekdays


def parse_cron(expression: str) -> CronTimes:
    """Read ``minute hour day-of-month month day-of-week`` or ``@daily`` and its like; raises InvalidRequest."""
    parts = _SHORTHANDS.get(expression.strip().lower(), expression).split()
    if len(parts) != len(_FIELDS):
        raise InvalidRequest(
            f"{expression!r} is not a cron expression: expected five fields such as '30 2 * * mon', or one of "
            f"{', '.join(_SHORTHANDS)}",
            cron=expression,
        )
    minutes, hours, days, months, weekdays = (
        _values(part, *field, expression) for part, field in zip(parts, _FIELDS, strict=True)
    )
    return CronTimes(
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=days,
        months=months,
        weekdays=frozenset(day % 7 for day in weekdays),
        either_day=not parts[2].startswith("*") and not parts[4].startswith("*"),
    )


def _values(part: str, name: str, low: int, high: int, expression: str) -> frozenset[int]:
    found: set[int] = set()
    for piece in part.lower().split(","):
        span, slash, step_text = piece.partition("/")
        first_text, dash, last_text = span.partition("-")
        try:
            step = int(step_text) if slash else 1
            first = low if span == "*" else _number(first_text, name)
            open_end = span == "*" or (slash and not dash)
            last = high if open_end else _number(last_text if dash else first_text, name)
        except ValueError:
            step = 0
            first = last = low
        if step < 1 or not low <= first <= last <= high:
            raise InvalidRequest(
                f"{expression!r}: {piece!r} is not a {name}: expected {low}-{high}, '*', a list, a range or '*/n'",
                cron=expression,
            )
        found.update(range(first, last + 1, step))
    return frozenset(found)


def _number(text: str, name: str) -> int:
    names = _NAMES.get(name, [])
    if text in names:
        return names.index(text) + (1 if name == "month" else 0)
    return int(text)
