"""Objects in a local folder: ``sha256/ab/cdef...``, written beside it and moved into place."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, ClassVar, Self

from mainspring.core.errors import NotFound, Unsupported
from mainspring.storage.durable import flush_file, flush_path
from mainspring.storage.locations import folder_of
from mainspring.storage.objects.digests import HashingReader, digest_of, hexadecimal, require
from mainspring.storage.objects.placing import replacing, temporary, writing
from mainspring.storage.objects.store import StoredObject

ABANDONED_AFTER_S = 86_400.0


class LocalObjects:
    """A folder; several processes may use it at once."""

    lacks: ClassVar[Mapping[str, str]] = {"presigned": "a folder answers nobody by HTTP"}

    def __init__(self, folder: Path) -> None:
        self._objects = folder / "sha256"
        self._incoming = folder / "incoming"
        with writing(folder):
            self._objects.mkdir(parents=True, exist_ok=True)
            self._incoming.mkdir(exist_ok=True)
            self._remove_abandoned()

    @classmethod
    def open(cls, url: str) -> Self:
        """Open, or make, the store at ``file:///folder``."""
        return cls(folder_of(url))

    def put_bytes(self, data: bytes) -> str:
        """Store the bytes and give their digest."""
        digest = digest_of(data)
        if not self._renewed(digest):
            self._store([data], digest)
        return digest

    def put_file(self, path: Path) -> str:
        """Store the content that the file has while it is read, and give its digest."""
        with path.open("rb") as file:
            return self._store(HashingReader(file), None)

    def take_file(self, path: Path, digest: str) -> None:
        """Move the file here, or store its content where it lies on another disk."""
        with writing(self._objects):
            if self._renewed(digest):
                return
            try:
                with path.open("rb") as file:
                    flush_file(file.fileno())
                    self._move_in(path, digest)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                require(digest, self.put_file(path))

    def get_bytes(self, digest: str, *, verify: bool = False) -> bytes:
        """Give the content; raises NotFound, and with *verify* Corrupt."""
        with self.open_object(digest) as file:
            data = file.read()
        if verify:
            require(digest, digest_of(data))
        return data

    def get_file(self, digest: str, path: Path, *, verify: bool = False) -> None:
        """Write the content to *path*, whole or not at all; raises NotFound, and with *verify* Corrupt."""
        with self.open_object(digest) as source, writing(path), replacing(path) as (_, target):
            if not verify:
                shutil.copyfileobj(source, target, 1 << 20)
                return
            reader = HashingReader(source)
            target.writelines(reader)
            require(digest, reader.digest)

    def open_object(self, digest: str) -> BinaryIO:
        """Give the content as a file."""
        try:
            return self._path(digest).open("rb")
        except FileNotFoundError:
            raise NotFound(f"there is no object {digest}", digest=digest) from None

    def exists(self, digest: str) -> bool:
        """Tell whether the object is there."""
        return self._path(digest).is_file()

    def size(self, digest: str) -> int:
        """Give the number of bytes of the object."""
        try:
            return self._path(digest).stat().st_size
        except FileNotFoundError:
            raise NotFound(f"there is no object {digest}", digest=digest) from None

    def delete(self, digest: str) -> None:
        """Remove the object."""
        path = self._path(digest)
        with writing(path):
            path.unlink(missing_ok=True)

    def list(self) -> Iterator[str]:
        """Give the digest of every object."""
        for shard in self._objects.iterdir():
            for path in shard.iterdir():
                yield f"sha256:{shard.name}{path.name}"

    def stored(self) -> Iterator[StoredObject]:
        """Give every object with its size and age."""
        for shard in self._objects.iterdir():
            for path in shard.iterdir():
                with contextlib.suppress(FileNotFoundError):
                    found = path.stat()
                    yield StoredObject(f"sha256:{shard.name}{path.name}", found.st_size, _renewed_at(found))

    def renew(self, digest: str) -> int:
        """Make the object young again and give its size; raises NotFound."""
        with self._held(digest, fcntl.LOCK_SH) as file:
            if file is None:
                raise NotFound(f"there is no object {digest}", digest=digest)
            with writing(self._objects):
                os.utime(file.fileno())
            return os.fstat(file.fileno()).st_size

    def discard(self, digest: str, *, before: datetime) -> bool:
        """Remove the object unless it was stored or renewed since."""
        with self._held(digest, fcntl.LOCK_EX | fcntl.LOCK_NB) as file:
            if file is None or _renewed_at(os.fstat(file.fileno())) >= before:
                return False
            self.delete(digest)
            return True

    def presigned(self, digest: str, *, expires_s: float) -> str:
        """Raise Unsupported."""
        raise Unsupported(self.lacks["presigned"])

    def _path(self, digest: str) -> Path:
        name = hexadecimal(digest)
        return self._objects / name[:2] / name[2:]

    def _renewed(self, digest: str) -> bool:
        # Read, not only looked for: storing the same bytes again repairs what was damaged meanwhile.
        with self._held(digest, fcntl.LOCK_SH) as file:
            if file is None:
                return False
            reader = HashingReader(file)
            deque(reader, maxlen=0)
            if reader.digest != digest:
                return False
            os.utime(file.fileno())
            return True

    @contextlib.contextmanager
    def _held(self, digest: str, lock: int) -> Iterator[BinaryIO | None]:
        """Open an object that stays while it is held; None when there is none, or when it cannot be held now.

        Who renews shares it, who discards has it alone: so nothing is discarded that somebody has just renewed.
        """
        path = self._path(digest)
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(path.open("rb"))
                fcntl.flock(file.fileno(), lock)
                # Discarded while we waited, and perhaps stored anew.
                held = file if os.path.samestat(os.fstat(file.fileno()), path.stat()) else None
            except OSError:
                held = None
            yield held

    def _store(self, chunks: Iterable[bytes], digest: str | None) -> str:
        with writing(self._objects), temporary(self._incoming) as (incoming, file):
            file.writelines(chunks)
            digest = chunks.digest if isinstance(chunks, HashingReader) else digest
            assert digest is not None
            if self._renewed(digest):
                return digest
            file.flush()
            flush_file(file.fileno())
            self._move_in(incoming, digest)
        return digest

    def _move_in(self, path: Path, digest: str) -> None:
        """Let a file, whose content is durable, be an object, durably."""
        place = self._path(digest)
        made = not place.parent.exists()
        place.parent.mkdir(exist_ok=True)
        path.chmod(0o444)
        path.replace(place)
        flush_path(place.parent)
        if made:
            flush_path(self._objects)

    def _remove_abandoned(self) -> None:
        for path in self._incoming.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > ABANDONED_AFTER_S:
                    path.unlink()


def _renewed_at(found: os.stat_result) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=found.st_mtime_ns // 1000)
