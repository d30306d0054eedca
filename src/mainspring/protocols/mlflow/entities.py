"""What several nouns have on the wire: keys with values, moments in milliseconds, view types, lifecycle stages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.tracking.model import Lifecycle

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VIEWS: dict[str | int, Lifecycle] = {
    **dict.fromkeys(("ACTIVE_ONLY", 1, "1"), "active"),
    **dict.fromkeys(("DELETED_ONLY", 2, "2"), "deleted"),
    **dict.fromkeys(("ALL", 3, "3"), "all"),
}


class KeyValue(msgspec.Struct, gc=False):
    """A param or a tag."""

    key: str
    value: str = ""


class ByRun(msgspec.Struct):
    """Which run is meant; clients of long ago call its id ``run_uuid``."""

    run_id: str | None = None
    run_uuid: str | None = None

    @property
    def run(self) -> str:
        """Give the id of the run; raises InvalidRequest when there is none."""
        found = self.run_id or self.run_uuid
        if not found:
            raise InvalidRequest("Missing value for required parameter 'run_id'")
        return found


def pairs(values: Mapping[str, str]) -> list[KeyValue]:
    """Give texts by key as they are told to clients."""
    return [KeyValue(key, value) for key, value in values.items()]


def texts(values: Iterable[KeyValue] | None) -> dict[str, str]:
    """Read texts by key; of several with one key the last one counts."""
    return {pair.key: pair.value for pair in values or []}


def milliseconds(moment: datetime) -> int:
    """Give a moment in milliseconds since 1970 UTC."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def moment(value_ms: int) -> datetime:
    """Read a moment in milliseconds since 1970 UTC; raises InvalidRequest for one outside the calendar."""
    try:
        return _EPOCH + timedelta(milliseconds=value_ms)
    except OverflowError:
        raise InvalidRequest(f"Invalid value {value_ms} for a time in milliseconds") from None


def stage(deleted: datetime | None) -> str:
    """Give the lifecycle stage of a record."""
    return "active" if deleted is None else "deleted"


def lifecycle_of(view_type: str | int | None) -> Lifecycle:
    """Read a view type, by its name or number; none means what is in use."""
    if view_type is None:
        return "active"
    found = _VIEWS.get(view_type)
    if found is None:
        raise InvalidRequest(f"Invalid value {view_type!r} for a view type: ACTIVE_ONLY, DELETED_ONLY or ALL")
    return found
