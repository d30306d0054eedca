"""A key-value store: small values by key, found in microseconds to milliseconds, with an optional end of life."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, Protocol, Self

from mainspring.core.errors import InvalidRequest
from mainspring.core.plugins import Registry
from mainspring.storage.locations import scheme_of


class KeyValueStore(Protocol):
    """Values by key; both are bytes, a key is not empty. Threads may share a store, any process may open its own.

    What `put_many` wrote is seen by every later read, of every process. Raises InvalidRequest for a malformed key and
    Unavailable when the store cannot be reached or written.
    """

    lacks: ClassVar[Mapping[str, str]]
    """What this driver cannot do, by capability, with the reason."""

    @classmethod
    def open(cls, url: str) -> Self: ...

    def get(self, key: bytes) -> bytes | None: ...

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Give one value per key, in the order of the keys."""
        ...

    def put_many(self, items: Iterable[tuple[bytes, bytes]], ttl_s: float | None = None) -> None:
        """Write all items, or none; each replaces what was there. After *ttl_s* seconds they are gone.

        Raises InvalidRequest when *ttl_s* is not more than 0.
        """
        ...

    def delete_many(self, keys: Iterable[bytes]) -> None:
        """Remove keys; one that is not there is no error."""
        ...

    def scan(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Give every item whose key starts with *prefix*; keys that are there all the time come exactly once."""
        ...

    def close(self) -> None:
        """Give everything back, once; the store is not used after that."""
        ...


kv: Registry[type[KeyValueStore]] = Registry(
    "kv",
    lmdb="mainspring.storage.kv.drivers.lmdb:LmdbStore",
    redis="mainspring.storage.kv.drivers.redis:RedisStore",
)


def open_kv(url: str) -> KeyValueStore:
    """Open the store at ``lmdb:///folder`` or ``redis://host:port/database?prefix=...``."""
    return kv.load(scheme_of(url, "lmdb:///folder or redis://host:port/database")).open(url)


def checked(key: bytes) -> bytes:
    """Give the key back; raises InvalidRequest when it is empty."""
    if not key:
        raise InvalidRequest("a key is at least one byte long; this one is empty")
    return key
