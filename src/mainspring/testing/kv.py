"""The suite that every key-value store passes.

Use it in a test module of your own: subclass `KeyValueStoreSuite` and give it a fixture ``url`` of an empty store and
a fixture ``store`` that opens it.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from mainspring.core.errors import InvalidRequest
from mainspring.storage.kv.store import KeyValueStore
from mainspring.testing.capabilities import expect_what_is_lacking, needs

READ_AND_WRITE = """
import sys
from mainspring.storage.kv.store import open_kv
store = open_kv(sys.argv[1])
print(store.get(b"here").decode())
store.put_many([(b"there", b"child" * 1000), *((b"filler %d" % n, bytes(10_000)) for n in range(3_000))])
"""


class KeyValueStoreSuite:
    """The rules of `KeyValueStore`, one test each."""

    @pytest.fixture(autouse=True)
    def _lacking(self, request: pytest.FixtureRequest, store: KeyValueStore) -> None:
        expect_what_is_lacking(request, store.lacks)

    @pytest.mark.parametrize("value", [b"", b"\0\xff\n", b"x" * 1_000_000], ids=["empty", "binary", "large"])
    def test_a_value_comes_back_as_it_was_put(self, store: KeyValueStore, value: bytes) -> None:
        store.put_many([(b"k\0\xff", value)])
        assert store.get(b"k\0\xff") == value

    def test_values_come_in_the_order_of_the_keys_with_none_for_what_is_not_there(self, store: KeyValueStore) -> None:
        store.put_many([(b"a", b"1"), (b"b", b"2")])
        assert store.get_many([b"b", b"nowhere", b"a", b"b"]) == [b"2", None, b"1", b"2"]
        assert store.get(b"nowhere") is None
        assert store.get_many([]) == []

    def test_a_later_value_replaces_the_earlier_one(self, store: KeyValueStore) -> None:
        store.put_many([(b"a", b"1")], ttl_s=0.05)
        store.put_many([(b"a", b"2")])
        store.put_many([(b"ends after the first value", b"")], ttl_s=0.06)
        _wait_for_the_end(store, b"ends after the first value")
        assert store.get(b"a") == b"2"

    def test_putting_nothing_is_no_error(self, store: KeyValueStore) -> None:
        store.put_many([])
        store.delete_many([])
        assert list(store.scan()) == []

    def test_a_value_is_gone_after_its_time_and_not_before(self, store: KeyValueStore) -> None:
        store.put_many([(b"short", b"1")], ttl_s=0.05)
        store.put_many([(b"long", b"2")], ttl_s=3600)
        _wait_for_the_end(store, b"short")
        assert list(store.scan()) == [(b"long", b"2")]

    @pytest.mark.parametrize("ttl_s", [0, -1])
    def test_a_time_that_is_over_already_is_refused(self, store: KeyValueStore, ttl_s: float) -> None:
        with pytest.raises(InvalidRequest):
            store.put_many([(b"a", b"1")], ttl_s=ttl_s)

    def test_deleted_keys_are_gone_and_deleting_them_again_is_no_error(self, store: KeyValueStore) -> None:
        store.put_many([(b"a", b"1"), (b"b", b"2"), (b"c", b"3")])
        store.delete_many([b"a", b"b", b"nowhere"])
        store.delete_many([b"a"])
        assert list(store.scan()) == [(b"c", b"3")]

    def test_a_scan_gives_every_key_under_its_prefix_once(self, store: KeyValueStore) -> None:
        wanted = {b"user:%d" % number: b"%d" % number for number in range(2500)}
        store.put_many([*wanted.items(), (b"use", b""), (b"user;", b""), (b"v", b"")])
        found = list(store.scan(b"user:"))
        assert len(found) == 2500
        assert dict(found) == wanted

    @pytest.mark.parametrize("prefix", [b"*", b"[a-z]", b"?", b"\\", b"^"])
    def test_a_prefix_is_plain_bytes_and_no_pattern(self, store: KeyValueStore, prefix: bytes) -> None:
        store.put_many([(b"abc", b"1"), (prefix + b"x", b"2")])
        assert list(store.scan(prefix)) == [(prefix + b"x", b"2")]

    @needs("ordered_scan")
    def test_a_scan_comes_in_the_order_of_the_keys(self, store: KeyValueStore) -> None:
        store.put_many([(b"%d" % number, b"") for number in range(50)])
        assert [key for key, _ in store.scan()] == sorted(b"%d" % number for number in range(50))

    @needs("long_keys")
    def test_a_key_may_have_thousands_of_bytes(self, store: KeyValueStore) -> None:
        store.put_many([(b"k" * 4000, b"1")])
        assert store.get(b"k" * 4000) == b"1"

    def test_an_empty_key_is_refused(self, store: KeyValueStore) -> None:
        with pytest.raises(InvalidRequest):
            store.put_many([(b"fine", b"1"), (b"", b"2")])
        with pytest.raises(InvalidRequest):
            store.get(b"")
        assert store.get(b"fine") is None

    def test_threads_share_a_store(self, store: KeyValueStore) -> None:
        def write(number: int) -> None:
            for turn in range(20):
                store.put_many([(b"%d/%d" % (number, turn), b"x" * 1000)])
                assert store.get(b"%d/%d" % (number, turn)) == b"x" * 1000

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(list(store.scan())) == 80

    def test_another_process_reads_what_is_here_and_what_it_writes_is_read_here(
        self, store: KeyValueStore, url: str
    ) -> None:
        store.put_many([(b"here", b"parent")])
        ran = subprocess.run([sys.executable, "-c", READ_AND_WRITE, url], stdout=subprocess.PIPE, check=True)
        assert ran.stdout == b"parent\n"
        assert store.get(b"there") == b"child" * 1000
        assert len(list(store.scan(b"filler"))) == 3_000


def _wait_for_the_end(store: KeyValueStore, key: bytes) -> None:
    deadline = time.monotonic() + 10
    while store.get(key) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
