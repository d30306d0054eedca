"""Bytes on their way between an HTTP connection and the object store: streamed, because they may be large.

What arrives lies in files of a folder of its own until it is whole and stored. Whatever ends this process in between,
nothing of it is anywhere else, and the next process sweeps the folder.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import msgspec

from mainspring.core.errors import TooLarge, Unavailable
from mainspring.runtime.presence import started_at
from mainspring.storage.objects.placing import temporary
from mainspring.storage.objects.store import ObjectStore

PART_BYTES = 1 << 20
ABANDONED_AFTER_S = 86_400.0


class Stored(msgspec.Struct, frozen=True):
    """An object that was stored: the digest of its bytes and how many they are."""

    digest: str
    size: int


class Threads(Protocol):
    """Runs calls that block; `runtime.threads` has it."""

    async def run(self, call: Callable[[], Any]) -> Any: ...


class Uploads:
    """Takes bytes in through *folder*, which several processes may share, and gives them out again."""

    def __init__(self, store: ObjectStore, threads: Threads, folder: Path, max_bytes: int) -> None:
        """Make the folder where it is not there, and sweep away what processes left that ended in the middle."""
        self.store, self.threads = store, threads
        self.folder, self._max_bytes = folder, max_bytes
        with on_disk(folder):
            folder.mkdir(parents=True, exist_ok=True)
            _sweep(folder)

    async def take_in(self, parts: AsyncIterator[bytes]) -> Stored:
        """Store what *parts* give as one object.

        Raises TooLarge, and Unavailable when the disk is full. Little more than a part is in memory at any time.
        """
        first, ended = await self._first(parts)
        if ended:
            return Stored(await self.threads.run(lambda: self.store.put_bytes(first)), len(first))
        with on_disk(self.folder), self.temporary() as (path, file):
            hashed = hashlib.sha256()
            size = await self.write(file, parts, first, hashed.update)
            digest = f"sha256:{hashed.hexdigest()}"
            # Hashed on its way in, so that nothing has to be read, or written, a second time.
            await self.threads.run(lambda: self.store.take_file(path, digest))
        return Stored(digest, size)

    def temporary(self) -> AbstractContextManager[tuple[Path, BinaryIO]]:
        """Give a new file of the folder, gone at the end unless it was moved away."""
        return temporary(self.folder, f"{os.getpid()}-")

    async def write(
        self,
        file: BinaryIO,
        parts: AsyncIterator[bytes],
        first: bytes = b"",
        seen: Callable[[bytes], None] | None = None,
    ) -> int:
        """Write *first* and what *parts* give into a file; gives how many bytes those were. Raises TooLarge.

        *seen* gets every part, in the thread that writes it.
        """

        def put(part: bytes) -> None:
            file.write(part)
            if seen is not None:
                seen(part)

        size = 0
        async for part in _grouped(first, parts):
            size += len(part)
            if size > self._max_bytes:
                raise TooLarge(f"the object is larger than {self._max_bytes} bytes (setting max_upload_bytes)")
            await self.threads.run(functools.partial(put, part))
        await self.threads.run(file.flush)
        return size

    async def _first(self, parts: AsyncIterator[bytes]) -> tuple[bytes, bool]:
        """Gather what fits in one part, and tell whether that was all: most artifacts are small."""
        gathered: list[bytes] = []
        size = 0
        async for part in parts:
            gathered.append(part)
            size += len(part)
            if size > self._max_bytes:
                raise TooLarge(f"the object is larger than {self._max_bytes} bytes (setting max_upload_bytes)")
            if size > PART_BYTES:
                return b"".join(gathered), False
        return b"".join(gathered), True

    async def give_out(self, digest: str, first: int = 0, count: int | None = None) -> AsyncIterator[bytes]:
        """Give the bytes of an object, or *count* of them from *first* on; raises NotFound before the first part."""
        file: BinaryIO = await self.threads.run(lambda: self.store.open_object(digest))
        try:
            if first:
                await self.threads.run(lambda: file.seek(first))
            left = count
            while left is None or left > 0:
                wanted = PART_BYTES if left is None else min(PART_BYTES, left)
                part: bytes = await self.threads.run(functools.partial(file.read, wanted))
                if not part:
                    return
                left = None if left is None else left - len(part)
                yield part
        finally:
            file.close()


async def _grouped(first: bytes, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    # A connection gives small parts, and a turn of a thread for each of them would cost more than the disk does.
    waiting, size = [first], len(first)
    async for part in parts:
        waiting.append(part)
        size += len(part)
        if size >= PART_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)


def _sweep(folder: Path) -> None:
    for path in _plain_files(folder.iterdir()):
        pid = path.name.partition("-")[0]
        with contextlib.suppress(FileNotFoundError):
            dead = not pid.isdigit() or started_at(int(pid)) is None or int(pid) == os.getpid()
            if dead or time.time() - path.stat().st_mtime > ABANDONED_AFTER_S:
                path.unlink()


def _plain_files(paths: Iterable[Path]) -> Iterator[Path]:
    return (path for path in paths if path.is_file())


@contextlib.contextmanager
def on_disk(folder: Path) -> Iterator[None]:
    """Turn what the operating system says about a full or read-only disk into Unavailable."""
    try:
        yield
    except ConnectionError:
        raise
    except OSError as error:
        raise Unavailable(
            f"the object cannot be taken in: {error.strerror or error}; free some space in {folder}"
        ) from error
