"""Waiting until the data plane that runs on a home serves what was published last."""

from __future__ import annotations

import time
from pathlib import Path

import httpx2
import msgspec

from mainspring.core.errors import Unavailable
from mainspring.core.settings import Settings
from mainspring.runtime.home_lock import Owner, home_owner
from mainspring.runtime.snapshots import Publisher, Watcher

_WITHIN_S = 60.0
_ROUND_S = 0.25


class _Failure(msgspec.Struct):
    endpoint: str
    reason: str


class _Health(msgspec.Struct):
    snapshot: int
    failures: list[_Failure]


def wait_until_served(settings: Settings, endpoint: str, release: str | None) -> str | None:
    """Wait until every data worker on the home follows the newest snapshot, and give the URL of the data plane.

    Gives None at once when no data plane runs there, or another platform is talked to than the home's. Raises
    Unavailable when a worker could not load what *endpoint* is to serve, or is not ready within a minute.
    """
    owner = home_owner(settings.home)
    if owner is None or "data" not in owner.urls or not _same(settings, owner):
        return None
    folder = Path(settings.home) / "snapshots"
    snapshot = Watcher(folder).current()
    wanted = 0 if snapshot is None else snapshot.version
    publisher, deadline = Publisher(folder), time.monotonic() + _WITHIN_S
    while True:
        applied = publisher.wait_applied(wanted, _ROUND_S)
        reason = _failed(owner.urls["data"], endpoint, wanted)
        if reason is not None:
            raise Unavailable(
                f"{release} is recorded, but the data plane cannot load it and serves on what it served before: "
                f"{reason}; go back with `mainspring rollback {endpoint}`"
            )
        if applied:
            return owner.urls["data"]
        if time.monotonic() > deadline:
            raise Unavailable(
                f"{release} is recorded, but the data plane does not serve it after {_WITHIN_S:g} s; look at "
                f"{settings.home}/logs"
            )


def _same(settings: Settings, owner: Owner) -> bool:
    return not settings.url or settings.url.rstrip("/") == owner.urls.get("control")


def _failed(data: str, endpoint: str, wanted: int) -> str | None:
    try:
        health = msgspec.json.decode(httpx2.get(f"{data}/health", timeout=5.0).content, type=_Health)
    except (httpx2.TransportError, msgspec.MsgspecError):
        return None  # A worker that is being started again answers in the next round.
    if health.snapshot < wanted:
        return None
    return next((failure.reason for failure in health.failures if failure.endpoint == endpoint), None)
