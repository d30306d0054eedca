"""Keys and values in a folder of this machine, in LMDB: one writer at a time, readers never wait.

A value is stored after eight bytes: when it ends, in milliseconds since 1970, or 0. What has ended is not given any
more, and is removed bit by bit by later writes.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Self, TypeVar, cast

import lmdb

from mainspring.core.errors import InvalidRequest, Unavailable
from mainspring.storage.kv.store import checked
from mainspring.storage.locations import folder_of

FIRST_MAP_BYTES = 16 << 20
MAX_READERS = 1024
SCAN_COUNT = 1000
SWEEP_COUNT = 16

T = TypeVar("T")


class LmdbStore:
    """One LMDB environment; its map grows by itself, in whichever process it becomes too small."""

    lacks: ClassVar[Mapping[str, str]] = {"long_keys": "LMDB keys have at most 511 bytes"}

    def __init__(self, folder: Path) -> None:
        self._environment = _acquire(folder)
        self._swept = b""

    @classmethod
    def open(cls, url: str) -> Self:
        """Open, or make, the store at ``lmdb:///folder``."""
        return cls(folder_of(url))

    def get(self, key: bytes) -> bytes | None:
        """Give the value."""
        return self.get_many([key])[0]

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Give one value per key, in the order of the keys, all of one moment."""
        now = _now_ms()

        def read(transaction: lmdb.Transaction) -> list[bytes | None]:
            return [_living(transaction.get(checked(key)), now) for key in keys]

        return self._environment.run(read)

    def put_many(self, items: Iterable[tuple[bytes, bytes]], ttl_s: float | None = None) -> None:
        """Write all items, or none."""
        if ttl_s is not None and ttl_s <= 0:
            raise InvalidRequest(f"a value lives for more than 0 seconds, not {ttl_s}")
        end = (0 if ttl_s is None else _now_ms() + max(1, round(ttl_s * 1000))).to_bytes(8)
        records = [(checked(key), end + value) for key, value in items]

        def write(transaction: lmdb.Transaction) -> None:
            with transaction.cursor() as cursor:
                cursor.putmulti(records)
            self._sweep(transaction, SWEEP_COUNT + 2 * len(records))

        if records:
            self._environment.run(write, write=True)

    def delete_many(self, keys: Iterable[bytes]) -> None:
        """Remove keys."""
        gone = [checked(key) for key in keys]

        def write(transaction: lmdb.Transaction) -> None:
            for key in gone:
                transaction.delete(key)

        if gone:
            self._environment.run(write, write=True)

    def scan(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Give every item whose key starts with *prefix*, in the order of the keys."""
        # In pieces: a read transaction that stays open keeps LMDB from using freed pages again.
        start, found = prefix, SCAN_COUNT
        while found == SCAN_COUNT:
            page = self._environment.run(partial(_page, start=start, prefix=prefix))
            found, now = len(page), _now_ms()
            for key, record in page:
                if (value := _living(record, now)) is not None:
                    yield key, value
                start = key + b"\0"

    def close(self) -> None:
        """Give the environment back."""
        _release(self._environment)

    def _sweep(self, transaction: lmdb.Transaction, count: int) -> None:
        """Remove what has ended among the next *count* items, going round the keys from write to write."""
        now = _now_ms()
        with transaction.cursor() as cursor:
            going = cursor.set_range(self._swept)
            for _ in range(count):
                if not going:
                    break
                ended = _living(cursor.value(), now) is None
                going = cursor.delete() if ended else cursor.next()
            self._swept = _key(cursor) if going else b""


class _Gate:
    """Lets many pass at once, or one alone: LMDB's map may only be resized while no transaction is open."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._closed = False

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._closed)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._closed)
            self._closed = True
            self._changed.wait_for(lambda: self._inside == 0)
        try:
            yield
        finally:
            with self._changed:
                self._closed = False
                self._changed.notify_all()


class _Environment:
    """An LMDB environment of this process, shared by every store that was opened on its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.users = 0
        self.open()

    def open(self) -> None:
        self._gate = _Gate()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lmdb = lmdb.open(str(self.folder), map_size=FIRST_MAP_BYTES, max_readers=MAX_READERS)
            # Readers that were killed would keep pages from being used again for ever.
            self._lmdb.reader_check()
            self._map_bytes = self._lmdb.info()["map_size"]
        except (lmdb.Error, OSError) as error:
            raise Unavailable(f"cannot open the key-value store in {self.folder}: {error}") from error

    def close(self) -> None:
        self._lmdb.close()

    def run(self, body: Callable[[lmdb.Transaction], T], *, write: bool = False) -> T:
        """Run *body* in a transaction, again when the map had to grow meanwhile."""
        while True:
            size = self._map_bytes
            try:
                with self._gate.shared(), self._lmdb.begin(write=write) as transaction:
                    return body(transaction)
            except lmdb.MapFullError:
                self._resize(size, 2 * size)
            except lmdb.MapResizedError:
                self._resize(size, 0)
            except lmdb.BadValsizeError as error:
                raise InvalidRequest(f"a key has at most {self._lmdb.max_key_size()} bytes here: {error}") from error
            except lmdb.Error as error:
                raise Unavailable(f"the key-value store in {self.folder} failed: {error}") from error

    def _resize(self, seen: int, size: int) -> None:
        with self._gate.alone():
            if self._map_bytes == seen:
                self._lmdb.set_mapsize(size)
                self._map_bytes = self._lmdb.info()["map_size"]


# LMDB forbids a second environment on the same folder in one process: its file locks would be lost when one is closed.
_open: dict[Path, _Environment] = {}
_opening = threading.Lock()


def _acquire(folder: Path) -> _Environment:
    place = folder.resolve()
    with _opening:
        environment = _open.get(place)
        if environment is None:
            environment = _open[place] = _Environment(place)
        environment.users += 1
        return environment


def _release(environment: _Environment) -> None:
    with _opening:
        environment.users -= 1
        if environment.users == 0:
            del _open[environment.folder]
            environment.close()


def _reopen_after_fork() -> None:
    """LMDB's environments do not survive a fork; the child gets new ones under its stores."""
    global _opening
    _opening = threading.Lock()
    for environment in _open.values():
        environment.close()
        environment.open()


os.register_at_fork(after_in_child=_reopen_after_fork)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _living(record: bytes | memoryview | None, now_ms: int) -> bytes | None:
    """Give the value of a record, or None when it has ended; our transactions give bytes, never views."""
    if not isinstance(record, bytes):
        return None
    end = int.from_bytes(record[:8])
    return record[8:] if end == 0 or end > now_ms else None


def _key(cursor: lmdb.Cursor) -> bytes:
    return cast("bytes", cursor.key())


def _page(transaction: lmdb.Transaction, start: bytes, prefix: bytes) -> list[tuple[bytes, bytes]]:
    page: list[tuple[bytes, bytes]] = []
    with transaction.cursor() as cursor:
        going = cursor.set_range(start)
        while going and len(page) < SCAN_COUNT and _key(cursor).startswith(prefix):
            page.append((_key(cursor), cast("bytes", cursor.value())))
            going = cursor.next()
    return page
