"""Keys and values in Redis, or in a server that speaks its protocol."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from mainspring.core.errors import InvalidRequest, Unavailable
from mainspring.core.urls import without_secrets
from mainspring.storage.kv.store import checked

SCAN_COUNT = 1000
_GLOB = re.compile(rb"([\\*?\[\]])")


class RedisStore:
    """One database of a Redis server, or the keys in it under a prefix."""

    lacks: ClassVar[Mapping[str, str]] = {"ordered_scan": "Redis keeps its keys in a hash table, without an order"}

    def __init__(self, url: str, prefix: bytes = b"") -> None:
        self._prefix = prefix
        self._place = urlsplit(url)._replace(query="").geturl().rpartition("@")[2]
        self._redis = redis.Redis.from_url(
            url,
            socket_timeout=10.0,
            socket_connect_timeout=5.0,
            retry=Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.02), 3),
        )

    @classmethod
    def open(cls, url: str) -> Self:
        """Open ``redis://[[user]:password@]host:port/database?prefix=...``; other options are those of redis-py."""
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        prefix = options.pop("prefix", "").encode()
        try:
            # redis-py takes a name for database 0, and finds an option that it does not know at the first call.
            int(parts.path.strip("/") or 0)
            store = cls(urlunsplit(parts._replace(query=urlencode(options))), prefix)
            store._redis.connection_pool.make_connection()
        except (TypeError, ValueError) as error:
            form = "expected redis://USER:PASSWORD@HOST:PORT/NUMBER?prefix=..."
            raise InvalidRequest(f"{without_secrets(url)!r} cannot be opened: {error}; {form}") from None
        return store

    def get(self, key: bytes) -> bytes | None:
        """Give the value."""
        return self.get_many([key])[0]

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Give one value per key, in the order of the keys."""
        if not keys:
            return []
        with self._asking():
            return self._values([self._prefix + checked(key) for key in keys])

    def put_many(self, items: Iterable[tuple[bytes, bytes]], ttl_s: float | None = None) -> None:
        """Write all items, or none."""
        if ttl_s is not None and ttl_s <= 0:
            raise InvalidRequest(f"a value lives for more than 0 seconds, not {ttl_s}")
        values = {self._prefix + checked(key): value for key, value in items}
        if not values:
            return
        with self._asking():
            if ttl_s is None:
                self._redis.mset(values)
                return
            with self._redis.pipeline(transaction=True) as pipeline:
                for key, value in values.items():
                    pipeline.set(key, value, px=max(1, round(ttl_s * 1000)))
                pipeline.execute()

    def delete_many(self, keys: Iterable[bytes]) -> None:
        """Remove keys."""
        if gone := [self._prefix + checked(key) for key in keys]:
            with self._asking():
                self._redis.unlink(*gone)

    def scan(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Give every item whose key starts with *prefix*."""
        pattern = _GLOB.sub(rb"\\\1", self._prefix + prefix) + b"*"
        seen: set[bytes] = set()
        cursor = 0
        while True:
            with self._asking():
                page: Any = self._redis.scan(cursor, match=pattern, count=SCAN_COUNT)
                cursor, found = page
                # SCAN may give a key twice while the server's table is being resized.
                fresh = [key for key in dict.fromkeys(found) if key not in seen]
                values = self._values(fresh) if fresh else []
            seen.update(fresh)
            for key, value in zip(fresh, values, strict=True):
                if value is not None:
                    yield key[len(self._prefix) :], value
            if cursor == 0:
                return

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _values(self, keys: list[bytes]) -> list[bytes | None]:
        # redis-py types its answers for the blocking and the asyncio client at once.
        return cast("list[bytes | None]", self._redis.mget(keys))

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as error:
            raise Unavailable(f"Redis at {self._place} does not answer as it should: {error}") from error
