"""Who is acting, and from where: every event is signed with it."""

from __future__ import annotations

import getpass
from contextvars import ContextVar
from functools import lru_cache

import msgspec


class Actor(msgspec.Struct, frozen=True):
    """A user or a part of the system, and the way that the call came in (``local``, ``http 127.0.0.1``, ``job``)."""

    name: str
    origin: str


_actor: ContextVar[Actor | None] = ContextVar("mainspring_actor", default=None)


@lru_cache(maxsize=1)
def _local() -> Actor:
    try:
        return Actor(getpass.getuser(), "local")
    except (OSError, KeyError):
        return Actor("unknown", "local")


def current_actor() -> Actor:
    """Give who acts in this context; outside of any, the user of this process."""
    return _actor.get() or _local()


class acting_as:
    """Sign what is done inside the block with this name and origin."""

    __slots__ = ("_actor", "_token")

    def __init__(self, name: str, origin: str) -> None:
        self._actor = Actor(name, origin)

    def __enter__(self) -> None:
        self._token = _actor.set(self._actor)

    def __exit__(self, *_: object) -> None:
        _actor.reset(self._token)
