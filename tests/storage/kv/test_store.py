"""Every key-value store that ships passes the suite, against the real thing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mainspring.core.errors import InvalidRequest
from mainspring.storage.kv.store import KeyValueStore, kv, open_kv
from mainspring.storage.locations import url_of
from mainspring.testing.kv import KeyValueStoreSuite


class TestKeyValueStores(KeyValueStoreSuite):
    @pytest.fixture(params=kv.names())
    def url(self, request: pytest.FixtureRequest, tmp_path: Path) -> str:
        if request.param == "redis":
            return str(request.getfixturevalue("redis_url")) + "?prefix=some*prefix:"
        assert request.param == "lmdb"
        return url_of("lmdb", tmp_path / "kv %41 #1?")

    @pytest.fixture
    def store(self, url: str) -> Iterator[KeyValueStore]:
        opened = open_kv(url)
        yield opened
        opened.close()


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "lmdb://relative",
        "lmdb:///folder?option=1",
        "lmdb:///folder#1",
        "redis://me:secret@host:port/0",
        "redis://me:secret@host/name",
        "redis://me:secret@host/0?sokcet_timeout=1",
    ],
)
def test_a_malformed_url_is_refused_with_what_to_write_and_without_its_password(url: str) -> None:
    with pytest.raises(InvalidRequest, match=r"expected|write") as refused:
        open_kv(url)
    assert "secret" not in str(refused.value)
