"""The two digests by which a hub knows files: the SHA-256 of large ones, the id of Git's blob of small ones."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from mainspring.core.errors import Corrupt

_CHUNK = 1 << 20
_SHA256, _SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")


def plain_etag(etag: str | None) -> str | None:
    """Give an ETag without weakness mark and quotes; None when it is no digest that can be checked."""
    found = (etag or "").removeprefix("W/").strip('"')
    return found if _SHA256.fullmatch(found) or _SHA1.fullmatch(found) else None


def check_file(path: Path, etag: str, name: str) -> None:
    """Raise Corrupt unless the content of a file has the digest."""
    if _SHA256.fullmatch(etag):
        digest = hashlib.sha256()
    elif _SHA1.fullmatch(etag):
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    else:
        raise Corrupt(f"{name}: {etag!r} is no digest that a hub gives", file=name)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != etag:
        raise Corrupt(
            f"{name} has the digest {digest.hexdigest()}, and the hub says {etag}: it is not taken", file=name
        )
