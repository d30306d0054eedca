"""Who is acting, and from where: every event is signed with it."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def acting_as(name: str, origin: str) -> Iterator[None]:
    """Sign what is done inside the block with this name and origin."""
    token = _actor.set(Actor(name, origin))
    try:
        yield
    finally:
        _actor.reset(token)
