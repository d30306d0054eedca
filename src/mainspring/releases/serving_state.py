"""From the tables of releases to what the data plane is told."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from mainspring.releases.binding import joined
from mainspring.releases.model import EndpointStatus, Release
from mainspring.serving.model import Arm, EndpointState


class Folders(Protocol):
    """Puts model files where the data plane finds them."""

    def materialise(self, digest: str) -> Path:
        """Give the local folder with the files of this tree; at once when it is there already."""
        ...


def endpoint_state(status: EndpointStatus, folders: Folders) -> EndpointState | None:
    """Give what an endpoint serves, with the files of its arms in place; None while it serves nothing.

    The features are those that the releases pin, which read the same rows. The salt is the canary's release: every
    rollout deals the units anew, and keeps them where they are while it grows.
    """
    if status.stable is None:
        return None
    tried = None if status.canary is None else status.canary.pinned.features
    return EndpointState(
        name=status.endpoint.name,
        stable=_arm(status.stable, folders),
        canary=None if status.canary is None else _arm(status.canary, folders),
        canary_share=status.endpoint.canary_share,
        salt="" if status.canary is None else status.canary.ref,
        features=joined(status.stable.pinned.features, tried),
    )


def _arm(release: Release, folders: Folders) -> Arm:
    pinned = release.pinned
    return Arm(
        release=release.ref,
        model=pinned.model,
        digest=pinned.digest,
        path=str(folders.materialise(pinned.digest)),
        engine=pinned.engine,
        signature=pinned.signature,
        task=pinned.task,
        classes=pinned.classes,
        trusted=pinned.trusted,
    )
