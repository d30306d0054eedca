"""Bytes are taken in whole or not at all, in little memory, and what a killed process left is swept."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mainspring.core.errors import InvalidData, InvalidRequest, NotFound, TooLarge, Unavailable
from mainspring.runtime.parted_uploads import PartedUploads
from mainspring.runtime.threads import Threads
from mainspring.runtime.uploads import PART_BYTES, Stored, Uploads
from mainspring.storage.objects.digests import digest_of
from mainspring.storage.objects.store import ObjectStore, open_objects

LIMIT = 5 * PART_BYTES


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_objects(f"file://{tmp_path / 'objects'}")


@pytest.fixture
def uploads(store: ObjectStore, tmp_path: Path) -> Iterator[Uploads]:
    threads = Threads(4)
    yield Uploads(store, threads, tmp_path / "uploads", LIMIT)
    threads.close()


async def sent(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("sizes", [(), (0,), (1, 2), (PART_BYTES,), (PART_BYTES, 1), (70_000,) * 40, (3 * PART_BYTES,)])
def test_the_parts_become_one_object(uploads: Uploads, store: ObjectStore, sizes: tuple[int, ...]) -> None:
    parts = [os.urandom(size) for size in sizes]
    data = b"".join(parts)
    stored = asyncio.run(uploads.take_in(sent(*parts)))
    assert stored == Stored(digest_of(data), len(data))
    assert store.get_bytes(stored.digest, verify=True) == data
    assert files(uploads.folder) == []


def test_what_breaks_off_or_is_too_large_leaves_nothing(uploads: Uploads, store: ObjectStore) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(2 * PART_BYTES)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        asyncio.run(uploads.take_in(broken()))
    with pytest.raises(TooLarge, match="max_upload_bytes"):
        asyncio.run(uploads.take_in(sent(*[bytes(PART_BYTES)] * 6)))
    assert files(uploads.folder) == list(store.list()) == []


def test_an_object_is_given_out_whole_or_in_part(uploads: Uploads, store: ObjectStore) -> None:
    data = os.urandom(2 * PART_BYTES + 5)
    digest = store.put_bytes(data)

    async def got(first: int, count: int | None) -> bytes:
        return b"".join([part async for part in uploads.give_out(digest, first, count)])

    for first, count in ((0, None), (7, None), (0, 3), (PART_BYTES - 1, PART_BYTES + 2), (0, 9 * PART_BYTES)):
        end = None if count is None else first + count
        assert asyncio.run(got(first, count)) == data[first:end]


def test_what_a_dead_process_left_is_swept_and_what_a_living_one_writes_is_not(uploads: Uploads) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    living = os.getppid()
    for pid in (dead.pid, living):
        (uploads.folder / f"{pid}-half").write_bytes(b"half")
    Uploads(uploads.store, uploads.threads, uploads.folder, LIMIT)
    assert files(uploads.folder) == [f"{living}-half"]


def test_parts_go_on_after_a_restart_and_become_one_object(uploads: Uploads, store: ObjectStore) -> None:
    parts = [os.urandom(2 * PART_BYTES), os.urandom(PART_BYTES + 3)]
    before = PartedUploads(uploads)
    upload = before.begin("a/b", 2)
    first = asyncio.run(before.put(upload, 1, sent(parts[0])))
    after = PartedUploads(Uploads(store, uploads.threads, uploads.folder, LIMIT))
    second = asyncio.run(after.put(upload, 2, sent(parts[1])))
    stored = after.finish(upload, "a/b", [(2, second), (1, first)])
    assert store.get_bytes(stored.digest) == b"".join(parts)
    assert stored.size == len(b"".join(parts))
    assert files(uploads.folder) == []


def test_parts_that_are_missing_or_are_another_s_are_refused(uploads: Uploads) -> None:
    parted = PartedUploads(uploads)
    upload = parted.begin("a", 2)
    digest = asyncio.run(parted.put(upload, 1, sent(b"one")))
    for parts in ([], [(2, digest)], [(1, digest), (1, digest)], [(1, digest_of(b"x"))], [(1, digest), (2, digest)]):
        with pytest.raises(InvalidData):
            parted.finish(upload, "a", parts)
    for unknown, target in ((upload, "b"), ("../" + upload, "a"), ("", "a"), ("0" * 26, "a")):
        with pytest.raises(NotFound):
            parted.finish(unknown, target, [(1, digest)])
    for number in (0, -1, 10_001):
        with pytest.raises(InvalidRequest):
            asyncio.run(parted.put(upload, number, sent(b"x")))
    parted.abandon(upload, "a")
    with pytest.raises(NotFound):
        asyncio.run(parted.put(upload, 1, sent(b"x")))
    with pytest.raises(InvalidRequest):
        parted.begin("a", 0)


def test_an_upload_that_nobody_ends_is_swept_after_a_day(uploads: Uploads) -> None:
    parted = PartedUploads(uploads)
    old, new = parted.begin("a", 1), parted.begin("b", 1)
    os.utime(uploads.folder / "parted" / old, (1, 1))
    again = PartedUploads(uploads)
    with pytest.raises(NotFound):
        again.abandon(old, "a")
    again.abandon(new, "b")


def test_a_folder_that_cannot_be_written_is_told_with_the_remedy(uploads: Uploads, tmp_path: Path) -> None:
    shutil.rmtree(uploads.folder)
    uploads.folder.write_text("a file")
    with pytest.raises(Unavailable, match="free some space in"):
        asyncio.run(uploads.take_in(sent(bytes(2 * PART_BYTES))))
