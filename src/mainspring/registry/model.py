"""What the registry keeps: models, their immutable versions, and the histories of stages and aliases."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import msgspec

from mainspring.core.errors import Unsupported
from mainspring.core.refs import ref
from mainspring.registry.signature import Engine, ModelInfo

Stage = Literal["development", "staging", "production", "archived", "failed", "rolled_back"]
CHAMPION = "champion"
PROMPT_TAG = "mlflow.prompt.is_prompt"
"""The tag by which MLflow's clients say that a model, or a version, is a prompt."""


def is_prompt(tags: Mapping[str, str]) -> bool:
    """Tell by its tags whether a model or a version is a prompt."""
    return tags.get(PROMPT_TAG, "").lower() == "true"


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model by name: the number of its latest version (None while it has none), and where its aliases point."""

    name: str
    description: str
    created: datetime
    updated: datetime | None = None
    latest: int | None = None
    aliases: dict[str, int] = {}
    tags: dict[str, str] = {}


class ModelVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One immutable version: a tree in the object store and what is known about it.

    Only ``stage``, ``card``, ``tags``, ``aliases`` and ``trusted`` change. The last says that its origin is known, so
    that a model that is code may be run, in a process of its own.

    A version may be a record only, of a model that cannot be served from here: then ``unservable`` says why, and there
    are neither ``engine`` nor ``info``; nor is there a ``digest`` when its files are not held here. ``source`` is where
    its files came from in the words of whoever registered it, ``location`` where they can be read, ``logged`` the id of
    the logged model that it was, ``run_link`` the page of a run that is kept elsewhere.
    """

    name: str
    version: int
    digest: str | None
    engine: Engine | None
    info: ModelInfo | None
    size_bytes: int
    created: datetime
    updated: datetime | None = None
    unservable: str | None = None
    source: str | None = None
    location: str | None = None
    logged: str | None = None
    run_link: str | None = None
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

    def servable(self) -> ServableVersion:
        """Give the version as one that can be served; raises Unsupported when it is a record only."""
        if self.digest is None or self.engine is None or self.info is None:
            why = self.unservable or "its files are not held here"
            raise Unsupported(f"{self.ref} is a record only and cannot be served: {why}", model=self.ref)
        return ServableVersion(**{name: getattr(self, name) for name in self.__struct_fields__})


class ServableVersion(ModelVersion, frozen=True, kw_only=True):
    """A version whose files and facts are all here."""

    digest: str
    engine: Engine
    info: ModelInfo


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
