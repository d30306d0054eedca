"""What the registry keeps: models, their immutable versions, and the histories of stages and aliases."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from mainspring.core.refs import ref
from mainspring.registry.signature import Engine, ModelInfo

Stage = Literal["development", "staging", "production", "archived", "failed", "rolled_back"]
CHAMPION = "champion"


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model by name: the number of its latest version (None while it has none), and where its aliases point."""

    name: str
    description: str
    created: datetime
    latest: int | None = None
    aliases: dict[str, int] = {}
    tags: dict[str, str] = {}


class ModelVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One immutable version: a tree in the object store and what is known about it.

    Only ``stage``, ``tags`` and ``aliases`` change. ``trusted`` says that its origin is known, so that a model that is
    code may be run, in a process of its own.
    """

    name: str
    version: int
    digest: str
    engine: Engine
    info: ModelInfo
    size_bytes: int
    created: datetime
    run: str | None = None
    dataset: str | None = None
    metrics: dict[str, float] = {}
    card: str = ""
    trusted: bool = False
    stage: Stage = "development"
    aliases: list[str] = []
    tags: dict[str, str] = {}

    @property
    def ref(self) -> str:
        """Give ``model:name@version``."""
        return ref("model", self.name, self.version)


class StageChange(msgspec.Struct, frozen=True):
    """A version came to a stage: when, by whom, and why."""

    version: int
    stage: Stage
    at: datetime
    actor: str
    reason: str


class AliasMove(msgspec.Struct, frozen=True):
    """An alias was pointed to a version, or removed (None); from where, when, by whom, and why."""

    alias: str
    version: int | None
    previous: int | None
    at: datetime
    actor: str
    reason: str
