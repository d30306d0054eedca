"""What only the Redis driver can get wrong."""

from __future__ import annotations

import pytest

from mainspring.core.errors import Unavailable
from mainspring.storage.kv.drivers.redis import RedisStore
from tests.servers import free_port


def test_stores_with_different_prefixes_do_not_see_each_other(redis_url: str) -> None:
    one, two = RedisStore.open(f"{redis_url}?prefix=one:"), RedisStore.open(f"{redis_url}?prefix=two:")
    one.put_many([(b"k", b"1")])
    two.put_many([(b"k", b"2")])
    assert (list(one.scan()), list(two.scan())) == ([(b"k", b"1")], [(b"k", b"2")])
    one.close()
    two.close()


def test_a_server_that_is_not_there_is_unavailable_and_its_password_is_not_told() -> None:
    store = RedisStore.open(f"redis://:secret@127.0.0.1:{free_port()}/0")
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1") as caught:
        store.get(b"k")
    assert "secret" not in str(caught.value)
    store.close()
