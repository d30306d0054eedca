"""What each change of an endpoint writes, in one transaction: what is served, a line of history, and the event."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from mainspring.core.actor import current_actor
from mainspring.core.errors import Conflict
from mainspring.core.events import Event
from mainspring.releases import store
from mainspring.releases.binding import same_rows
from mainspring.releases.events import (
    CanaryDropped,
    CanaryGrown,
    CanaryPromoted,
    CanaryStarted,
    ReleaseCreated,
    ReleaseDeployed,
    ReleaseRolledBack,
)
from mainspring.releases.model import Action, Candidate, EndpointStatus, Release
from mainspring.storage.sql.journal import emit

Connection = Any
"""A transaction of `storage.sql`; only stores look inside."""


def pin(
    connection: Connection,
    status: EndpointStatus,
    candidate: Candidate,
    configuration: dict[str, Any],
    token: str | None,
    now: datetime,
) -> Release:
    """Make the next release of the endpoint; the first one that says so decides what the endpoint is for.

    Raises Conflict when the endpoint serves another task.
    """
    endpoint = status.endpoint
    if endpoint.task is None:
        store.set_purpose(connection, endpoint.name, candidate.task, endpoint.metric or candidate.metric)
    elif candidate.task is not None and candidate.task != endpoint.task:
        raise Conflict(
            f"endpoint {endpoint.name} answers {endpoint.task} questions, {candidate.model} is a {candidate.task} "
            "model: deploy it to an endpoint of its own",
            endpoint=endpoint.name,
            model=candidate.model,
        )
    release = Release(
        endpoint=endpoint.name,
        version=store.next_version(connection, endpoint.name),
        pinned=candidate,
        configuration=configuration,
        created=now,
        actor=current_actor().name,
    )
    store.insert_release(connection, release, token)
    features = None if candidate.features is None else candidate.features.view
    event = ReleaseCreated(release=release.ref, model=candidate.model, dataset=candidate.dataset, features=features)
    emit(connection, event)
    return release


def start(connection: Connection, status: EndpointStatus, release: Release, share: float | None, now: datetime) -> None:
    """Serve a new release to all, or to a share as a canary; raises Conflict when that cannot be."""
    endpoint, stable = status.endpoint, status.stable
    if status.canary is not None:
        raise Conflict(
            f"{status.canary.ref} is being tried on endpoint {endpoint.name}: promote or drop it first",
            endpoint=endpoint.name,
            canary=status.canary.ref,
        )
    if share is None:
        event: Event = ReleaseDeployed(
            endpoint=endpoint.ref,
            release=release.ref,
            model=release.model,
            replaced=None if stable is None else stable.ref,
        )
        _write(connection, "deployed", release, None, 0.0, event, now, replaced=stable)
        return
    if stable is None:
        raise Conflict(
            f"endpoint {endpoint.name} has no release that a canary could be compared with: deploy without a canary",
            endpoint=endpoint.name,
        )
    if not same_rows(release.pinned.features, stable.pinned.features):
        raise Conflict(
            f"{release.model} reads other features than {stable.ref} does, and an endpoint has one feature view at a "
            "time: deploy it without a canary, or to an endpoint of its own",
            endpoint=endpoint.name,
        )
    event = CanaryStarted(endpoint=endpoint.ref, release=release.ref, model=release.model, share=share)
    _write(connection, "canary_started", stable, release, share, event, now)


def grow(connection: Connection, status: EndpointStatus, share: float, reason: str, now: datetime) -> None:
    """Give the canary a larger share; raises Conflict when it has a larger one already."""
    stable, canary = running(status)
    before = status.endpoint.canary_share
    if share < before:
        message = f"the canary of {canary.endpoint} has {before} already and only grows: drop it to go back"
        raise Conflict(message, endpoint=canary.endpoint)
    event = CanaryGrown(
        endpoint=status.endpoint.ref,
        release=canary.ref,
        model=canary.model,
        share=share,
        before=before,
        reason=reason,
    )
    _write(connection, "canary_grown", stable, canary, share, event, now, reason=reason)


def promote(connection: Connection, status: EndpointStatus, reason: str, now: datetime) -> None:
    """Give the canary all traffic; raises Conflict when there is none."""
    stable, canary = running(status)
    event = CanaryPromoted(
        endpoint=status.endpoint.ref, release=canary.ref, model=canary.model, replaced=stable.ref, reason=reason
    )
    _write(connection, "canary_promoted", canary, None, 0.0, event, now, replaced=stable, reason=reason)


def drop(connection: Connection, status: EndpointStatus, reason: str, now: datetime, token: str | None = None) -> None:
    """Take the traffic of the canary back; raises Conflict when there is none."""
    stable, canary = running(status)
    event = CanaryDropped(
        endpoint=status.endpoint.ref, release=canary.ref, model=canary.model, stable=stable.ref, reason=reason
    )
    _write(connection, "canary_dropped", stable, None, 0.0, event, now, about=canary, reason=reason, token=token)


def restore(
    connection: Connection, status: EndpointStatus, to: int | None, reason: str, now: datetime, token: str | None
) -> None:
    """Serve an earlier release to all: *to*, or the one before; raises NotFound, and Conflict when there is none."""
    name, stable = status.endpoint.name, status.stable
    earlier = status.previous if to is None else store.find_release(connection, name, to)
    if stable is None or earlier is None:
        message = (
            f"endpoint {name} has no earlier release to go back to; `mainspring endpoint history {name}` lists them"
        )
        raise Conflict(message, endpoint=name)
    if earlier.version == stable.version:
        raise Conflict(f"endpoint {name} serves {stable.ref} already", endpoint=name)
    event = ReleaseRolledBack(
        endpoint=status.endpoint.ref, release=earlier.ref, model=earlier.model, replaced=stable.ref, reason=reason
    )
    _write(connection, "rolled_back", earlier, None, 0.0, event, now, replaced=stable, reason=reason, token=token)


def running(status: EndpointStatus) -> tuple[Release, Release]:
    """Give the stable release and the canary; raises Conflict when no canary runs."""
    if status.stable is None or status.canary is None:
        name = status.endpoint.name
        raise Conflict(f"no canary runs on endpoint {name}; start one with --canary SHARE", endpoint=name)
    return status.stable, status.canary


def _write(
    connection: Connection,
    action: Action,
    stable: Release,
    canary: Release | None,
    share: float,
    event: Event,
    now: datetime,
    *,
    about: Release | None = None,
    replaced: Release | None = None,
    reason: str = "",
    token: str | None = None,
) -> None:
    version = None if canary is None else canary.version
    store.set_served(connection, stable.endpoint, stable=stable.version, canary=version, share=share)
    store.insert_change(
        connection,
        stable.endpoint,
        action,
        release=(about or canary or stable).version,
        replaced=None if replaced is None else replaced.version,
        share=share,
        reason=reason,
        now=now,
        actor=current_actor().name,
        token=token,
    )
    emit(connection, event)
