"""Waiting until the platform has done what was begun: a job, a deploy, what follows a promotion."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx2

from mainspring.core.errors import InvalidData, Unavailable
from mainspring.core.refs import Ref
from mainspring.loop.platform import RunningPlatform
from mainspring.pipelines.model import Job

POLL_S = 0.03
_WITHIN_S = 30.0


def until_finished(platform: RunningPlatform, job: Job, progress: Callable[[str], None]) -> Job:
    """Wait until a job is done, and say what it does meanwhile. Raises InvalidData when it fails or is cancelled."""
    while True:
        found = platform.call(lambda session: session.pipelines.get(job.id))
        if found.status == "done":
            return found
        if found.status in ("failed", "cancelled"):
            raise InvalidData(f"{found.ref} {found.status}: {found.error or 'see its log with `mainspring job logs`'}")
        running = next((step for step in found.steps if step.state == "leased"), None)
        progress("" if running is None else f"{running.name}: {running.progress or '...'}")
        time.sleep(POLL_S)


def until_served(platform: RunningPlatform, endpoint: str, model: str) -> None:
    """Wait until the data plane answers with this model version. Raises Unavailable when it does not in time."""
    url = f"{platform.data}/v2/models/{endpoint}/versions/{Ref.parse(model).version}/ready"
    deadline = time.monotonic() + _WITHIN_S
    while not _is_ready(url):
        if time.monotonic() > deadline:
            raise Unavailable(f"{model} is not served after {_WITHIN_S:g} s; see the logs of the data plane")
        time.sleep(POLL_S)


def until_followed(platform: RunningPlatform, endpoint: str, model: str) -> bool:
    """Wait until the champion and the watch have followed the promotion; tells whether they did in time."""
    deadline = time.monotonic() + _WITHIN_S
    while time.monotonic() < deadline:
        champion = platform.call(lambda session: session.registry.resolve(f"model:{endpoint}@champion"))
        watched = platform.call(lambda session: session.monitoring.reference(endpoint))
        if champion.ref == model and watched.model == model:
            return True
        time.sleep(POLL_S)
    return False


def _is_ready(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=5).status_code == 200
    except httpx2.TransportError:
        return False
