"""Endpoints, their immutable releases, and what happened to them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from mainspring.core.refs import ref
from mainspring.registry.signature import Engine, Signature, Task
from mainspring.serving.model import FeatureBinding

Action = Literal["deployed", "canary_started", "canary_grown", "canary_promoted", "canary_dropped", "rolled_back"]


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """What the registry knows of one model version, as far as a release pins it.

    ``features`` names a feature view, in a release a pinned version of it. ``trusted`` says that the origin of a model
    that brings code is known.
    """

    model: str
    digest: str
    engine: Engine
    signature: Signature
    task: Task | None = None
    metric: str | None = None
    classes: list[str | int] | None = None
    dataset: str | None = None
    features: FeatureBinding | None = None
    trusted: bool = False


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """One release of an endpoint: the versions that were deployed together; it never changes."""

    endpoint: str
    version: int
    pinned: Candidate
    configuration: dict[str, Any]
    created: datetime
    actor: str

    @property
    def ref(self) -> str:
        """Give ``release:<endpoint>@<version>``."""
        return ref("release", self.endpoint, self.version)

    @property
    def model(self) -> str:
        """Give the ref of the model version."""
        return self.pinned.model


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint in one line: what it is for, and the releases and models that answer now."""

    name: str
    task: Task | None
    metric: str | None
    stable: str | None
    model: str | None
    canary: str | None
    canary_model: str | None
    canary_share: float
    created: datetime

    @property
    def ref(self) -> str:
        """Give ``endpoint:<name>``."""
        return ref("endpoint", self.name)


class EndpointStatus(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint with its releases in full; ``previous`` is what a rollback of the stable release would restore."""

    endpoint: Endpoint
    stable: Release | None
    canary: Release | None
    previous: Release | None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change of what an endpoint serves. ``replaced`` is the release that ``release`` took the place of."""

    number: int
    endpoint: str
    at: datetime
    actor: str
    action: Action
    release: str
    replaced: str | None
    share: float
    reason: str
