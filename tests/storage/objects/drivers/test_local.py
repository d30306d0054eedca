"""The local folder keeps its promise under crashes, damage and a disk that cannot be written."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mainspring.core.errors import Unavailable
from mainspring.storage.objects.digests import digest_of
from mainspring.storage.objects.drivers.local import ABANDONED_AFTER_S, LocalObjects

DIE_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from mainspring.storage.objects.drivers.local import LocalObjects
store = LocalObjects(Path(sys.argv[1]))
moment = sys.argv[2]
def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
if moment == "before it is on disk": os.fsync = os.fdatasync = die
if moment == "before it is in place": Path.replace = die
store.put_bytes(b"half" * 1000)
die()
"""


@pytest.mark.parametrize("moment", ["before it is on disk", "before it is in place", "after it returned"])
def test_a_writer_killed_at_any_moment_leaves_a_whole_object_or_none(tmp_path: Path, moment: str) -> None:
    died = subprocess.run([sys.executable, "-c", DIE_WHILE_WRITING, str(tmp_path), moment])
    assert died.returncode == -signal.SIGKILL
    store = LocalObjects(tmp_path)
    expected = [digest_of(b"half" * 1000)] if moment == "after it returned" else []
    assert list(store.list()) == expected
    assert store.get_bytes(store.put_bytes(b"half" * 1000), verify=True) == b"half" * 1000


def test_what_a_killed_writer_left_is_removed_a_day_later_and_not_before(tmp_path: Path) -> None:
    LocalObjects(tmp_path)
    old, young = tmp_path / "incoming" / "old", tmp_path / "incoming" / "young"
    for path in (old, young):
        path.write_bytes(b"half")
    past = time.time() - ABANDONED_AFTER_S - 60
    os.utime(old, (past, past))
    LocalObjects(tmp_path)
    assert young.exists()
    assert not old.exists()


def test_a_folder_that_cannot_be_written_is_unavailable_and_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file stands where the folder should be")
    with pytest.raises(Unavailable, match="taken"):
        LocalObjects(tmp_path / "taken")


def test_a_disk_that_takes_no_more_is_unavailable_and_leaves_nothing(tmp_path: Path) -> None:
    store = LocalObjects(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(Unavailable, match="File too large"):
            store.put_bytes(b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(store.list()) == []
    assert list((tmp_path / "incoming").iterdir()) == []


def age(store: LocalObjects, digest: str) -> datetime:
    """Let an object be two days old; gives when it would be too old."""
    past = time.time() - 2 * 86_400
    os.utime(store._path(digest), (past, past))
    return datetime.now(UTC) - timedelta(days=1)


def test_storing_the_same_bytes_again_makes_them_young(tmp_path: Path) -> None:
    store = LocalObjects(tmp_path / "objects")
    (tmp_path / "file").write_bytes(b"x")
    digest = store.put_bytes(b"x")
    for again in (
        lambda: store.put_bytes(b"x"),
        lambda: store.put_file(tmp_path / "file"),
        lambda: store.renew(digest),
    ):
        before = age(store, digest)
        again()
        assert not store.discard(digest, before=before)
    assert store.discard(digest, before=age(store, digest))


def test_who_stores_what_is_discarded_at_the_same_moment_has_it_stored(tmp_path: Path) -> None:
    store = LocalObjects(tmp_path)
    digest = store.put_bytes(b"x")
    with ThreadPoolExecutor(4) as pool:
        for _ in range(200):
            before = age(store, digest)
            discarding = [pool.submit(store.discard, digest, before=before) for _ in range(2)]
            storing = [pool.submit(store.put_bytes, b"x") for _ in range(2)]
            assert [one.result() for one in storing] == [digest, digest]
            assert sum(one.result() for one in discarding) <= 1
            assert store.get_bytes(digest, verify=True) == b"x"


def test_a_file_is_moved_where_it_can_be_and_copied_from_another_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalObjects(tmp_path / "objects")
    (tmp_path / "file").write_bytes(b"moved")
    was = (tmp_path / "file").stat().st_ino
    store.take_file(tmp_path / "file", digest_of(b"moved"))
    (place,) = [path for path in (tmp_path / "objects" / "sha256").rglob("*") if path.is_file()]
    assert place.stat().st_ino == was
    (tmp_path / "file").write_bytes(b"copied")
    replace = Path.replace

    def elsewhere(self: Path, target: Path) -> Path:
        if self == tmp_path / "file":
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", elsewhere)
    store.take_file(tmp_path / "file", digest_of(b"copied"))
    assert store.get_bytes(digest_of(b"copied"), verify=True) == b"copied"
