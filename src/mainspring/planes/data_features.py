"""Serving's feature reader, kept by the online store of the feature views."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.features.online import OnlineReader
from mainspring.storage.kv.store import KeyValueStore, open_kv


class StoredFeatures:
    """Reads materialised views from the key-value store at *url*, which is opened on the first read."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._store: KeyValueStore | None = None

    def read(self, view: str, keys: Sequence[Any], at_us: int | None = None) -> list[dict[str, Any] | None]:
        """Give the newest row of each key, None for an unknown one.

        Raises NotFound for a view that was never materialised, InvalidRequest for what is no key of it.
        """
        if self._store is None:
            self._store = open_kv(self._url)
        reader = OnlineReader(self._store)
        stored = reader.view(view)
        if stored is None:
            raise NotFound(f"{view!r} was never materialised, so nothing of it can be read online", view=view)
        rows = [key if isinstance(key, list) else [key] for key in keys]
        if wrong := [row for row in rows if len(row) != len(stored.keys)]:
            raise InvalidRequest(f"{wrong[0]!r} is no key of {view}: expected values of {', '.join(stored.keys)}")
        found = reader.read(view, rows, time.time_ns() // 1000 if at_us is None else at_us)
        return [one.values for one in found]

    def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            self._store.close()
            self._store = None
