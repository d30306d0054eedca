"""Objects in an S3 bucket, or in anything that speaks its protocol, through obstore."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, ClassVar, Self, cast

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError

from mainspring.core.errors import Conflict, NotFound, Unavailable
from mainspring.storage.buckets import bucket_store
from mainspring.storage.locations import Bucket
from mainspring.storage.objects.digests import HashingReader, digest_of, digest_of_file, hexadecimal, require
from mainspring.storage.objects.placing import replacing, writing
from mainspring.storage.objects.store import StoredObject

MULTIPART_BYTES = 8 << 20
SPOOLED_BYTES = 8 << 20
YOUNG = timedelta(hours=1)
"""What is younger need not be renewed: nobody discards objects before they are this old."""


class S3Objects:
    """A prefix in a bucket; keys as in the local folder: ``sha256/ab/cdef...``."""

    lacks: ClassVar[Mapping[str, str]] = {
        "repair": "to read back what is there already would cost as much as to store it again",
    }

    def __init__(self, bucket: Bucket) -> None:
        self._place = f"s3://{bucket.name}/{bucket.prefix}"
        self._store = bucket_store(bucket)

    @classmethod
    def open(cls, url: str) -> Self:
        """Open the store at ``s3://bucket/prefix?endpoint=...``; the bucket must exist."""
        return cls(Bucket.parse(url))

    def put_bytes(self, data: bytes) -> str:
        """Store the bytes and give their digest."""
        digest = digest_of(data)
        if len(data) > MULTIPART_BYTES:
            with self._asking(digest):
                if not self._has(digest, len(data)):
                    obstore.put(self._store, _key(digest), data, chunk_size=MULTIPART_BYTES)
            return digest
        with self._asking(digest):
            try:
                obstore.put(self._store, _key(digest), data, mode="create")
            except AlreadyExistsError:
                if not self._has(digest, len(data)):
                    obstore.put(self._store, _key(digest), data)
        return digest

    def put_file(self, path: Path) -> str:
        """Store the file and give its digest; raises Conflict when the file changed meanwhile."""
        if path.stat().st_size <= MULTIPART_BYTES:
            return self.put_bytes(path.read_bytes())
        digest = digest_of_file(path)
        with self._asking(digest), path.open("rb") as file:
            if self._has(digest, path.stat().st_size):
                return digest
            reader = HashingReader(file)
            obstore.put(self._store, _key(digest), reader, chunk_size=MULTIPART_BYTES)
            if reader.digest != digest:
                obstore.delete(self._store, _key(digest))
                raise Conflict(f"{path} changed while it was stored: store it again when nothing writes to it")
        return digest

    def take_file(self, path: Path, digest: str) -> None:
        """Send the file."""
        require(digest, self.put_file(path))

    def get_bytes(self, digest: str, *, verify: bool = False) -> bytes:
        """Give the content; raises NotFound, and with *verify* Corrupt."""
        with self._asking(digest):
            data = bytes(obstore.get(self._store, _key(digest)).bytes())
        if verify:
            require(digest, digest_of(data))
        return data

    def get_file(self, digest: str, path: Path, *, verify: bool = False) -> None:
        """Write the content to *path*, whole or not at all; raises NotFound, and with *verify* Corrupt."""
        with writing(path), replacing(path) as (beside, file):
            self._download(digest, file)
            if verify:
                file.flush()
                require(digest, digest_of_file(beside))

    def open_object(self, digest: str) -> BinaryIO:
        """Give the content as a file: in memory while small, on the local disk beyond that."""
        file = cast("BinaryIO", tempfile.SpooledTemporaryFile(SPOOLED_BYTES))  # noqa: SIM115 (the caller closes it)
        try:
            self._download(digest, file)
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return file

    def exists(self, digest: str) -> bool:
        """Tell whether the object is there."""
        try:
            self.size(digest)
        except NotFound:
            return False
        return True

    def size(self, digest: str) -> int:
        """Give the number of bytes of the object."""
        with self._asking(digest):
            return obstore.head(self._store, _key(digest))["size"]

    def delete(self, digest: str) -> None:
        """Remove the object."""
        with contextlib.suppress(NotFound), self._asking(digest):
            obstore.delete(self._store, _key(digest))

    def list(self) -> Iterator[str]:
        """Give the digest of every object."""
        with self._asking("sha256"):
            for page in obstore.list(self._store, "sha256"):
                for found in page:
                    yield "sha256:" + found["path"].removeprefix("sha256/").replace("/", "")

    def stored(self) -> Iterator[StoredObject]:
        """Give every object with its size and age."""
        with self._asking("sha256"):
            for page in obstore.list(self._store, "sha256"):
                for found in page:
                    digest = "sha256:" + found["path"].removeprefix("sha256/").replace("/", "")
                    yield StoredObject(digest, found["size"], found["last_modified"])

    def renew(self, digest: str) -> int:
        """Make the object young again, if it is older than an hour, and give its size; raises NotFound."""
        with self._asking(digest):
            found = obstore.head(self._store, _key(digest))
            if _age(found["last_modified"]) > YOUNG:
                # A bucket has no other way: the bytes are put anew, by itself.
                with self.open_object(digest) as file:
                    obstore.put(self._store, _key(digest), HashingReader(file), chunk_size=MULTIPART_BYTES)
            return found["size"]

    def discard(self, digest: str, *, before: datetime) -> bool:
        """Remove the object unless it was stored or renewed since; who renews it in the same moment may lose it."""
        with self._asking(digest):
            try:
                if obstore.head(self._store, _key(digest))["last_modified"] >= before:
                    return False
            except FileNotFoundError:
                return False
            obstore.delete(self._store, _key(digest))
            return True

    def presigned(self, digest: str, *, expires_s: float) -> str:
        """Give a signed URL of the object, which need not be there."""
        return obstore.sign(self._store, "GET", _key(digest), timedelta(seconds=expires_s))

    def _has(self, digest: str, size: int) -> bool:
        """Tell whether the object is there, and so young that nobody discards it soon."""
        try:
            found = obstore.head(self._store, _key(digest))
        except FileNotFoundError:
            return False
        return found["size"] == size and _age(found["last_modified"]) <= YOUNG

    def _download(self, digest: str, target: BinaryIO) -> None:
        with self._asking(digest):
            for chunk in obstore.get(self._store, _key(digest)).stream(min_chunk_size=1 << 20):
                target.write(chunk)

    @contextlib.contextmanager
    def _asking(self, digest: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise Unavailable(f"{self._place}: there is no such bucket; make it first", url=self._place) from error
            raise NotFound(f"there is no object {digest}", digest=digest) from None
        except AlreadyExistsError:
            raise
        except BaseError as error:
            raise Unavailable(f"{self._place} does not answer as a bucket should: {error}", url=self._place) from error


def _age(renewed: datetime) -> timedelta:
    return datetime.now(UTC) - renewed


def _key(digest: str) -> str:
    name = hexadecimal(digest)
    return f"sha256/{name[:2]}/{name[2:]}"
