"""Digests: the names of objects, ``sha256:`` and 64 hexadecimal digits of their content."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mainspring.core.errors import Corrupt, InvalidRequest

CHUNK_BYTES = 1 << 20
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def digest_of(data: bytes) -> str:
    """Give the digest of these bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def digest_of_file(path: Path) -> str:
    """Give the digest of a file's content."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def hexadecimal(digest: str) -> str:
    """Give the 64 digits of a digest; raises InvalidRequest for anything that is none, so for a path as well."""
    if not _DIGEST.fullmatch(digest):
        raise InvalidRequest(f"{digest!r} is not a digest: expected sha256: and 64 hexadecimal digits", digest=digest)
    return digest.removeprefix("sha256:")


def require(digest: str, found: str) -> None:
    """Raise Corrupt unless the bytes that were read have the digest under which they are stored."""
    if found != digest:
        raise Corrupt(
            f"object {digest} holds other bytes ({found}): restore it from a copy, or delete it and store it again",
            digest=digest,
            found=found,
        )


class HashingReader:
    """Hands out a file in chunks and knows the digest of what it handed out."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._file.read(CHUNK_BYTES):
            self._hash.update(chunk)
            self.size += len(chunk)
            yield chunk

    @property
    def digest(self) -> str:
        """The digest of everything handed out so far."""
        return f"sha256:{self._hash.hexdigest()}"
