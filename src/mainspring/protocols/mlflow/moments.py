"""Times as proto3's JSON writes them: ``2026-01-31T12:00:00.250Z``, and a duration as ``1.250s``."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from mainspring.core.errors import InvalidRequest

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_DURATION = re.compile(r"(-?)(\d{1,12})(?:\.(\d{1,9}))?s")


def moment_text(ms: int) -> str:
    """Give milliseconds since 1970 as a time; those of years that it cannot write as the last or first that it can."""
    try:
        moment = _EPOCH + ms * _MS
    except OverflowError:
        moment = (datetime.max if ms > 0 else datetime.min).replace(tzinfo=UTC)
    whole, milliseconds = moment.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0"), moment.microsecond // 1000
    return f"{whole}.{milliseconds:03}Z" if milliseconds else f"{whole}Z"


def milliseconds_of(text: str, field: str) -> int:
    """Read a time as milliseconds since 1970; raises InvalidRequest that names the field."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(f"{field} is {text!r}, expected a time such as 2026-01-31T12:00:00.250Z") from None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MS


def duration_text(ms: int) -> str:
    """Give milliseconds as a duration."""
    seconds, rest = divmod(abs(ms), 1000)
    sign = "-" if ms < 0 else ""
    return f"{sign}{seconds}.{rest:03}s" if rest else f"{sign}{seconds}s"


def duration_of(text: str, field: str) -> int:
    """Read a duration as milliseconds; raises InvalidRequest that names the field."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise InvalidRequest(f"{field} is {text!r}, expected a duration such as 1.250s")
    sign, seconds, fraction = found.groups()
    ms = int(seconds) * 1000 + int((fraction or "").ljust(3, "0")[:3])
    return -ms if sign else ms
