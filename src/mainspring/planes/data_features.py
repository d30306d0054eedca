"""Serving's feature reader, kept by the online store of the feature views."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from mainspring.core.errors import NotFound
from mainspring.features.online import OnlineReader
from mainspring.storage.kv.store import KeyValueStore, open_kv


class StoredFeatures:
    """Reads materialised views from the key-value store at *url*, which is opened on the first read."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._store: KeyValueStore | None = None

    def read(self, view: str, keys: Sequence[Any], at_us: int | None = None) -> list[dict[str, Any] | None]:
        """Give the newest row of each key, None for an unknown one; raises NotFound for a view never materialised."""
        if self._store is None:
            self._store = open_kv(self._url)
        reader = OnlineReader(self._store)
        if reader.view(view) is None:
            raise NotFound(f"{view!r} was never materialised, so nothing of it can be read online", view=view)
        now_us = time.time_ns() // 1000 if at_us is None else at_us
        found = reader.read(view, [key if isinstance(key, list) else [key] for key in keys], now_us)
        return [one.values for one in found]

    def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            self._store.close()
            self._store = None
