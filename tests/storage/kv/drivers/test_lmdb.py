"""What only the LMDB driver can get wrong: growing, forking, killed writers, what has ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mainspring.core.errors import InvalidRequest, Unavailable
from mainspring.storage.kv.drivers import lmdb as driver
from mainspring.storage.kv.drivers.lmdb import FIRST_MAP_BYTES, LmdbStore

WRITE_UNTIL_KILLED = """
import sys
from pathlib import Path
from mainspring.storage.kv.drivers.lmdb import LmdbStore
store = LmdbStore(Path(sys.argv[1]))
for number in range(1_000_000):
    store.put_many([(b"%d/a" % number, b"x" * 100), (b"%d/b" % number, b"x" * 100)])
    print(number, flush=True)
"""


def test_the_store_grows_past_its_first_map_while_others_read(tmp_path: Path) -> None:
    store, reader = LmdbStore(tmp_path), LmdbStore(tmp_path)
    store.put_many([(b"first", b"1")])
    done = threading.Event()
    wrong: list[bytes | None] = []

    def read() -> None:
        while not done.is_set():
            if (value := reader.get(b"first")) != b"1":
                wrong.append(value)

    thread = threading.Thread(target=read)
    thread.start()
    value = bytes(1 << 20)
    count = 3 * FIRST_MAP_BYTES // len(value)
    for number in range(count):
        store.put_many([(b"%d" % number, value)])
    done.set()
    thread.join()
    assert wrong == []
    assert sum(len(value) for _, value in store.scan()) == count * len(value) + 1
    store.close()
    reader.close()


def test_one_write_may_be_larger_than_the_map(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path)
    store.put_many([(b"huge", bytes(3 * FIRST_MAP_BYTES))])
    assert len(store.get(b"huge") or b"") == 3 * FIRST_MAP_BYTES
    store.close()


def test_a_forked_child_reads_and_writes_and_the_parent_goes_on(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path)
    store.put_many([(b"parent", b"1")])
    pid = os.fork()
    if pid == 0:
        try:
            assert store.get(b"parent") == b"1"
            store.put_many([(b"child", b"2")])
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    assert store.get(b"child") == b"2"
    store.put_many([(b"parent", b"3")])
    assert store.get(b"parent") == b"3"
    store.close()


def test_a_killed_writer_loses_nothing_acknowledged_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITE_UNTIL_KILLED, str(tmp_path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline() for _ in range(50)]
        writer.send_signal(signal.SIGKILL)
        last = int(([*acknowledged, *writer.stdout.readlines()])[-1])
    store = LmdbStore(tmp_path)
    found = {key for key, _ in store.scan()}
    assert {b"%d/%s" % (number, part) for number in range(last + 1) for part in (b"a", b"b")} <= found
    assert len(found) % 2 == 0
    store.put_many([(b"after", b"1")])
    assert store.get(b"after") == b"1"
    store.close()


def test_what_has_ended_is_removed_by_later_writes(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path)
    store.put_many([(b"old %d" % number, bytes(100)) for number in range(500)], ttl_s=0.05)
    while list(store.scan()):
        time.sleep(0.01)
    for number in range(60):
        store.put_many([(b"new %d" % number, b"1")])
    assert store._environment.run(lambda transaction: transaction.stat()["entries"]) == 60
    store.close()


def test_a_key_that_is_too_long_is_refused_with_the_limit(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path)
    with pytest.raises(InvalidRequest, match="at most 511 bytes"):
        store.put_many([(b"k" * 512, b"1")])
    store.close()


def test_a_folder_that_cannot_be_made_is_unavailable_and_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(Unavailable, match="taken"):
        LmdbStore(tmp_path / "taken")


def test_closing_one_of_two_stores_on_a_folder_leaves_the_other_open(tmp_path: Path) -> None:
    one, two = LmdbStore(tmp_path), LmdbStore(tmp_path)
    one.put_many([(b"k", b"1")])
    one.close()
    assert two.get(b"k") == b"1"
    two.close()
    assert not [folder for folder in driver._open if folder.is_relative_to(tmp_path.resolve())]
