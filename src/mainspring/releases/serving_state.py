"""From the tables of releases to what the data plane is told."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Protocol

from mainspring.core.errors import MainspringError
from mainspring.releases.binding import joined
from mainspring.releases.model import EndpointStatus, Release
from mainspring.serving.model import Arm, EndpointState

logger = logging.getLogger(__name__)


class Folders(Protocol):
    """Puts model files where the data plane finds them."""

    def materialise(self, digest: str) -> Path:
        """Give the local folder with the files of this tree; at once when it is there already."""
        ...

    def folder(self, digest: str) -> Path:
        """Say which folder that is, whether the files are there or not."""
        ...


def endpoint_state(status: EndpointStatus, folders: Folders) -> EndpointState | None:
    """Give what an endpoint serves, its files in place where they can be had; None while it serves nothing.

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
    try:
        path = folders.materialise(pinned.digest)
    except MainspringError as error:
        # A worker that has loaded it needs no files, and no other endpoint may wait for them.
        logger.error("the files of %s in %s cannot be laid out: %s", pinned.model, release.ref, error)
        path = folders.folder(pinned.digest)
    return Arm(
        release=release.ref,
        model=pinned.model,
        digest=pinned.digest,
        path=str(path),
        engine=pinned.engine,
        signature=pinned.signature,
        task=pinned.task,
        classes=pinned.classes,
        trusted=pinned.trusted,
    )
