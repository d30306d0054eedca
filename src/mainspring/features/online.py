"""Reading features online, from a key-value store; nothing here imports more than msgspec, so that serving may."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

_LONGEST_KEY = 400  # LMDB holds keys of up to 511 bytes
_encode = msgspec.msgpack.Encoder().encode


class Lookup(Protocol):
    """As much of a key-value store as reading takes."""

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]: ...


class StoredView(msgspec.Struct, frozen=True, array_like=True):
    """What a reader must know of a materialised view: names, the age at which a last value ends, the instant (us).

    ``ends_us`` has None for a feature that does not end by itself, which every aggregate over a window is.
    """

    ref: str
    keys: list[str]
    features: list[str]
    ends_us: list[int | None]
    as_of_us: int


class StoredRow(msgspec.Struct, frozen=True, array_like=True):
    """The features of one key as of an instant, in the order of the view, and the time of its latest event (us)."""

    as_of_us: int
    event_us: int | None
    values: list[Any]


class Found(msgspec.Struct, frozen=True):
    """The features of one key, by name; None for a key that is unknown."""

    values: dict[str, Any] | None
    event_us: int | None
    as_of_us: int | None


_view = msgspec.msgpack.Decoder(StoredView).decode
_row = msgspec.msgpack.Decoder(StoredRow).decode


def view_key(view: str) -> bytes:
    """Give the key under which the view of this ref is stored."""
    return b"feature_view\0" + view.encode()


def row_key(view: str, key: Sequence[Any]) -> bytes:
    """Give the key under which the features of one key are stored; 7 and "7" are different keys."""
    name = b"feature_row\0" + view.encode() + b"\0" + _encode(list(key))
    if len(name) <= _LONGEST_KEY:
        return name
    return b"feature_row\0" + view.encode() + b"\0#" + hashlib.sha256(name).digest()


def encode_view(view: StoredView) -> bytes:
    """Give the bytes of a view."""
    return _encode(view)


def encode_row(row: StoredRow) -> bytes:
    """Give the bytes of a row."""
    return _encode(row)


class OnlineReader:
    """Reads materialised features. Threads may share one when they may share its store."""

    def __init__(self, kv: Lookup) -> None:
        self._kv = kv

    def view(self, view: str) -> StoredView | None:
        """Give what is stored about the view ``feature_view:name@version``; None before its first materialisation."""
        stored = self._kv.get_many([view_key(view)])[0]
        return None if stored is None else _view(stored)

    def read(self, view: str, keys: Sequence[Sequence[Any]], now_us: int | None = None) -> list[Found]:
        """Give the features of each key, in the order of the keys, in one round trip to the store.

        A key is the list of its key columns' values. One that the latest materialisation did not write is unknown,
        also when an earlier one did. Instants come as aware datetimes, dates as ISO text. With *now_us* (microseconds
        since 1970), a last value that has come to its maximum age since the materialisation is missing.
        """
        head, *rows = self._kv.get_many([view_key(view), *(row_key(view, key) for key in keys)])
        if head is None:
            return [Found(None, None, None) for _ in keys]
        known = _view(head)
        return [_found(known, row, now_us) for row in rows]


def _found(view: StoredView, stored: bytes | None, now_us: int | None) -> Found:
    row = None if stored is None else _row(stored)
    if row is None or row.as_of_us < view.as_of_us:
        return Found(None, None, None)
    values = dict(zip(view.features, row.values, strict=True))
    if now_us is not None and row.event_us is not None:
        age_us = now_us - row.event_us
        values |= {name: None for name, end in zip(view.features, view.ends_us, strict=True) if end and age_us >= end}
    return Found(values, row.event_us, row.as_of_us)
