"""Every key-value store that ships passes the suite, against the real thing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mainspring.storage.kv.store import KeyValueStore, kv, open_kv
from mainspring.testing.kv import KeyValueStoreSuite


class TestKeyValueStores(KeyValueStoreSuite):
    @pytest.fixture(params=kv.names())
    def url(self, request: pytest.FixtureRequest, tmp_path: Path) -> str:
        if request.param == "redis":
            return str(request.getfixturevalue("redis_url")) + "?prefix=some*prefix:"
        assert request.param == "lmdb"
        return f"lmdb://{tmp_path / 'kv'}"

    @pytest.fixture
    def store(self, url: str) -> Iterator[KeyValueStore]:
        opened = open_kv(url)
        yield opened
        opened.close()
