"""What the history of a model tells."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from mainspring.registry.model import Stage

ChangeKind = Literal["registered", "alias", "stage", "trusted", "refused", "deleted", "restored", "renamed"]


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that happened to a model: to which version, how it was before, when, by whom and from where.

    ``version`` None says of an alias that it was removed, and of anything else that it was about the whole model.
    ``event`` is the number of the event in the journal.
    """

    event: int
    at: datetime
    kind: ChangeKind
    what: str
    version: int | None = None
    alias: str | None = None
    stage: Stage | None = None
    previous: int | None = None
    reason: str = ""
    actor: str
    origin: str


class Pointing(msgspec.Struct, frozen=True, kw_only=True):
    """Where an alias pointed: to which version, since when, set by whom and why."""

    version: int
    since: datetime
    actor: str
    origin: str
    reason: str = ""


class ModelState(msgspec.Struct, frozen=True, kw_only=True):
    """A model as it was at a moment: its versions with their stages, and where its aliases pointed.

    ``known_as`` is the name that it had then, where it was renamed since; without versions it was not there.
    """

    name: str
    at: datetime
    known_as: str
    aliases: dict[str, Pointing] = {}
    stages: dict[int, Stage] = {}
