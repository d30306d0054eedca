"""Uploads in parts, which may come in any order and at the same time, and become one object when all are there.

A part that was answered is on the disk, so an upload goes on after a restart; what nobody ends is swept after a day.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import BinaryIO

from mainspring.core.errors import InvalidData, InvalidRequest, NotFound
from mainspring.core.ids import new_id
from mainspring.runtime.uploads import ABANDONED_AFTER_S, PART_BYTES, Stored, Uploads, on_disk
from mainspring.storage.objects.digests import digest_of_file

MAX_PARTS = 10_000
_ID = re.compile(r"[0-9A-Z]{26}")
_TARGET = "target"


class PartedUploads:
    """Gathers parts in a folder beside the files of *uploads*."""

    def __init__(self, uploads: Uploads) -> None:
        """Make the folder where it is not there, and sweep away what nobody went on with."""
        self._uploads, self.threads = uploads, uploads.threads
        self._folder = uploads.folder / "parted"
        with on_disk(self._folder):
            self._folder.mkdir(exist_ok=True)
            for abandoned in self._folder.iterdir():
                if time.time() - abandoned.stat().st_mtime > ABANDONED_AFTER_S:
                    shutil.rmtree(abandoned, ignore_errors=True)

    def begin(self, target: str, parts: int) -> str:
        """Begin an upload of what *target* names and give its id; raises InvalidRequest for too many parts."""
        if not 1 <= parts <= MAX_PARTS:
            raise InvalidRequest(f"an upload has 1 to {MAX_PARTS} parts, not {parts}")
        upload = new_id()
        with on_disk(self._folder):
            (self._folder / upload).mkdir()
            (self._folder / upload / _TARGET).write_text(target, "utf-8")
        return upload

    async def put(self, upload: str, number: int, parts: AsyncIterator[bytes]) -> str:
        """Take one part in, instead of one of the same number, and give its digest. Raises NotFound, TooLarge."""
        place = self._part(upload, number)
        with on_disk(self._folder), self._uploads.temporary() as (path, file):
            await self._uploads.write(file, parts)
            digest: str = await self.threads.run(functools.partial(_settle, path, file, place))
        return digest

    def finish(self, upload: str, target: str, parts: Sequence[tuple[int, str]]) -> Stored:
        """Join the parts, each with its number and digest, to one object.

        Raises NotFound for an unknown upload, InvalidData when a part is missing or is not what was sent.
        """
        folder = self._of(upload, target)
        numbers = sorted(number for number, _ in parts)
        if not numbers or numbers != list(range(1, len(numbers) + 1)):
            raise InvalidData(f"the parts of an upload are numbered from 1 without gaps, not {numbers[:20]}")
        with on_disk(self._folder), self._uploads.temporary() as (path, file):
            for number, digest in sorted(parts):
                part = self._part(upload, number)
                if not part.is_file() or digest_of_file(part) != digest:
                    raise InvalidData(f"part {number} of upload {upload} did not arrive as it was sent; send it again")
                with part.open("rb") as source:
                    shutil.copyfileobj(source, file, PART_BYTES)
            file.flush()
            stored = Stored(self._uploads.store.put_file(path), file.tell())
            shutil.rmtree(folder, ignore_errors=True)
        return stored

    def abandon(self, upload: str, target: str) -> None:
        """Forget an upload and its parts; raises NotFound."""
        shutil.rmtree(self._of(upload, target), ignore_errors=True)

    def _of(self, upload: str, target: str) -> Path:
        folder = self._known(upload)
        with contextlib.suppress(OSError):
            if (folder / _TARGET).read_text("utf-8") == target:
                return folder
        raise NotFound(f"there is no upload {upload!r} of {target!r}; it may have been ended, or be too old")

    def _part(self, upload: str, number: int) -> Path:
        if not 1 <= number <= MAX_PARTS:
            raise InvalidRequest(f"parts are numbered from 1 to {MAX_PARTS}; {number} is none")
        return self._known(upload) / f"{number:05d}"

    def _known(self, upload: str) -> Path:
        # What a client calls an upload becomes part of a path only when it looks like an id of ours.
        if not _ID.fullmatch(upload) or not (self._folder / upload).is_dir():
            raise NotFound(f"there is no upload {upload!r}; it may have been ended, or be too old")
        return self._folder / upload


def _settle(path: Path, file: BinaryIO, place: Path) -> str:
    os.fsync(file.fileno())
    digest = digest_of_file(path)
    try:
        path.replace(place)
    except FileNotFoundError:
        raise NotFound("the upload was ended while this part came in") from None
    return digest
