"""An object store: put bytes, get their digest; give the digest, get the bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, ClassVar, NamedTuple, Protocol, Self

from mainspring.core.plugins import Registry
from mainspring.storage.locations import scheme_of


class StoredObject(NamedTuple):
    """An object that is there: its digest, its bytes, and when it was stored or renewed last."""

    digest: str
    size: int
    renewed: datetime


class ObjectStore(Protocol):
    """Immutable objects under the digest of their content.

    An object is there whole or not at all, at any moment of any crash, and durable once `put_*` has returned. Storing
    the same bytes again, also at the same time, is one object. Every method raises InvalidRequest for a malformed
    digest and Unavailable when the store cannot be reached or written; reading what is not there raises NotFound.
    """

    lacks: ClassVar[Mapping[str, str]]
    """What this driver cannot do, by capability, with the reason."""

    @classmethod
    def open(cls, url: str) -> Self: ...

    def put_bytes(self, data: bytes) -> str: ...

    def put_file(self, path: Path) -> str: ...

    def take_file(self, path: Path, digest: str) -> None:
        """Store a file whose digest was found while it was written, and to which nobody writes any longer.

        The file may be gone afterwards: a store on the same disk moves it instead of writing it once more.
        """
        ...

    def get_bytes(self, digest: str, *, verify: bool = False) -> bytes:
        """Give the content; with *verify*, raise Corrupt when it does not have this digest."""
        ...

    def get_file(self, digest: str, path: Path, *, verify: bool = False) -> None:
        """Write the content to *path*, replacing what is there; whole or not at all. *verify* as in `get_bytes`."""
        ...

    def open_object(self, digest: str) -> BinaryIO:
        """Give the content as a seekable binary file, to be closed by the caller."""
        ...

    def exists(self, digest: str) -> bool: ...

    def size(self, digest: str) -> int: ...

    def delete(self, digest: str) -> None:
        """Remove the object; one that is not there is no error."""
        ...

    def list(self) -> Iterator[str]:
        """Give the digest of every object, in no order."""
        ...

    def stored(self) -> Iterator[StoredObject]:
        """Give every object, in no order."""
        ...

    def renew(self, digest: str) -> int:
        """Make the object as young as one that is stored now, and give its size; to be called before it is referred to.

        Storing the same bytes again does so as well. Raises NotFound.
        """
        ...

    def discard(self, digest: str, *, before: datetime) -> bool:
        """Remove an object that nobody has stored or renewed since *before*; tells whether it is gone by this call."""
        ...

    def presigned(self, digest: str, *, expires_s: float) -> str:
        """Give a URL at which whoever has it can read the content for a while, past this process.

        Raises Unsupported where the store is none that answers by HTTP.
        """
        ...


objects: Registry[type[ObjectStore]] = Registry(
    "objects",
    file="mainspring.storage.objects.drivers.local:LocalObjects",
    s3="mainspring.storage.objects.drivers.s3:S3Objects",
)


def open_objects(url: str) -> ObjectStore:
    """Open the store at ``file:///folder`` or ``s3://bucket/prefix`` (options: `storage.locations.Bucket.parse`)."""
    return objects.load(scheme_of(url, "file:///folder or s3://bucket/prefix")).open(url)
