"""What is kept of users, and what a permission allows."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

Permission = Literal["READ", "USE", "EDIT", "MANAGE", "NO_PERMISSIONS"]
Capability = Literal["read", "use", "update", "delete", "manage"]
Kind = Literal["experiment", "registered_model"]

ALLOWED: dict[Permission, frozenset[Capability]] = {
    "NO_PERMISSIONS": frozenset(),
    "READ": frozenset({"read"}),
    "USE": frozenset({"read", "use"}),
    "EDIT": frozenset({"read", "use", "update"}),
    "MANAGE": frozenset({"read", "use", "update", "delete", "manage"}),
}
"""What each permission allows; the words are MLflow's."""


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who may log in; an admin may do everything."""

    id: int
    name: str
    admin: bool
    created: datetime
    updated: datetime


class Grant(msgspec.Struct, frozen=True):
    """A permission on one thing: an experiment by its id, a model or a prompt by its name."""

    kind: Kind
    resource: str
    permission: Permission


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A token of a user, by which programs log in; None for one that does not expire."""

    id: str
    user: str
    name: str
    created: datetime
    expires: datetime | None = None


class NewToken(Token, frozen=True, kw_only=True):
    """A token that was just made, with its text, which is shown this once."""

    secret: str


class Need(msgspec.Struct, frozen=True):
    """What must be allowed on one thing."""

    kind: Kind
    resource: str
    capability: Capability


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a call asks of the rights of its caller; nothing: any user may make it.

    ``needs`` are on things with permissions of their own; ``general`` is needed of everything else, which has the
    default permission; ``admin`` is for admins, and for those named by ``or_self``.
    """

    needs: list[Need] = []
    general: Capability | None = None
    admin: bool = False
    or_self: str | None = None
