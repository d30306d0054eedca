"""Secrets at rest: sealed with a key that is kept in a file of its own, apart from the database.

The standard library has no cipher. A sealed secret is the exclusive or of its bytes with HMAC-SHA256 in counter mode (a
pseudo-random function is a stream cipher as long as no key meets a nonce twice), under keys of its own that are derived
from the key of the file and 24 random bytes; a second HMAC over the context, the nonce and the result tells whatever
was changed or moved.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import stat
from pathlib import Path

from mainspring.core.errors import Corrupt, Unavailable
from mainspring.storage.durable import flush_file, flush_path, write_all

_MARK = "v1:"
_KEY_BYTES, _NONCE_BYTES, _TAG_BYTES = 32, 24, 32


class SecretBox:
    """Seals and opens secrets with the key in *file*, which is made when the first secret is sealed.

    Whoever has the file can read the secrets: it is readable by its owner only, and belongs into another backup than
    the database.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._key: bytes | None = None

    def seal(self, secret: str, context: str) -> str:
        """Give *secret* sealed for one place: it can only be opened with the same *context*, such as an owner's id.

        Raises Unavailable when the key cannot be read or made.
        """
        nonce = os.urandom(_NONCE_BYTES)
        encryption, authentication = _keys(self._key_of_file(make=True), nonce)
        hidden = _mixed(secret.encode(), encryption)
        sealed = nonce + hidden + _tag(authentication, context, nonce + hidden)
        return _MARK + base64.b64encode(sealed).decode()

    def open(self, sealed: str, context: str) -> str:
        """Give the secret. Raises Corrupt when it was changed, moved, or sealed with another key; Unavailable."""
        try:
            content = base64.b64decode(sealed.removeprefix(_MARK), validate=True)
        except binascii.Error:
            content = b""
        if not sealed.startswith(_MARK) or len(content) < _NONCE_BYTES + _TAG_BYTES:
            raise Corrupt("a sealed secret is damaged; set the secret again")
        told, tag = content[:-_TAG_BYTES], content[-_TAG_BYTES:]
        nonce, hidden = told[:_NONCE_BYTES], told[_NONCE_BYTES:]
        encryption, authentication = _keys(self._key_of_file(make=False), nonce)
        if not hmac.compare_digest(tag, _tag(authentication, context, told)):
            raise Corrupt(
                f"a sealed secret cannot be opened with the key in {self._file}: it was sealed with another key, or "
                "changed; bring that key back, or set the secret again"
            )
        return _mixed(hidden, encryption).decode()

    def _key_of_file(self, *, make: bool) -> bytes:
        if self._key is None:
            self._key = self._read(make=make)
        return self._key

    def _read(self, *, make: bool) -> bytes:
        try:
            if make and not self._file.exists():
                self._make()
            mode = stat.S_IMODE(self._file.stat().st_mode)
            key = bytes.fromhex(self._file.read_text("ascii"))
        except FileNotFoundError:
            raise Unavailable(
                f"the key {self._file} of the secrets is not there: bring it back, or set the secrets again"
            ) from None
        except OSError as error:
            raise Unavailable(f"the key {self._file} of the secrets cannot be used: {error.strerror}") from error
        except ValueError:
            key = b""
        if mode & 0o077:
            raise Unavailable(f"others may read the key {self._file} of the secrets: `chmod 600` it")
        if len(key) != _KEY_BYTES:
            raise Corrupt(f"{self._file} is no key of secrets: bring back what was there")
        return key

    def _make(self) -> None:
        # Written aside and linked: of two processes that make one at once, both use the first.
        aside = self._file.with_name(f".{self._file.name}.{os.getpid()}.new")
        file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            write_all(file, os.urandom(_KEY_BYTES).hex().encode())
            flush_file(file)
        finally:
            os.close(file)
        try:
            self._file.hardlink_to(aside)
        except FileExistsError:
            pass
        finally:
            aside.unlink()
        flush_path(self._file.parent)


def _keys(key: bytes, nonce: bytes) -> tuple[bytes, bytes]:
    return tuple(hmac.digest(key, use + nonce, hashlib.sha256) for use in (b"encrypt", b"authenticate"))  # type: ignore[return-value]


def _mixed(content: bytes, key: bytes) -> bytes:
    blocks = range(-(-len(content) // 32))
    stream = b"".join(hmac.digest(key, block.to_bytes(8, "big"), hashlib.sha256) for block in blocks)
    return bytes(a ^ b for a, b in zip(content, stream, strict=False))


def _tag(key: bytes, context: str, content: bytes) -> bytes:
    place = context.encode()
    return hmac.digest(key, len(place).to_bytes(8, "big") + place + content, hashlib.sha256)
