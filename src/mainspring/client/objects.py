"""The object store of a control plane, at a distance."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, ClassVar, Self

import httpx2
import msgspec

from mainspring.client.remote import no_answer, send
from mainspring.core.errors import Corrupt, NotFound, Unsupported
from mainspring.storage.objects.digests import digest_of
from mainspring.storage.objects.placing import replacing
from mainspring.storage.objects.store import StoredObject


class RemoteObjects:
    """Puts and gets objects over HTTP. What is needed to administer a store (list, delete) stays with its owner."""

    lacks: ClassVar[Mapping[str, str]] = {
        "list": "listing belongs to whoever runs the store",
        "delete": "deleting belongs to whoever runs the store",
        "presigned": "URLs of the store belong to whoever runs it",
    }

    def __init__(self, http: httpx2.Client) -> None:
        self._http = http

    @classmethod
    def open(cls, url: str) -> Self:
        """Open the store of the control plane at *url*."""
        return cls(httpx2.Client(base_url=url))

    def put_bytes(self, data: bytes) -> str:
        """Store bytes and give their digest."""
        headers = {"x-mainspring-digest": digest_of(data)}
        return _digest(send(self._http, "POST", "/objects", content=data, headers=headers))

    def put_file(self, path: Path) -> str:
        """Store a file and give its digest; it is streamed."""
        with path.open("rb") as file:
            return _digest(send(self._http, "POST", "/objects", content=file))

    def take_file(self, path: Path, digest: str) -> None:
        """Store a file whose digest is known; refused when its bytes have another one."""
        with path.open("rb") as file:
            send(self._http, "POST", "/objects", content=file, headers={"x-mainspring-digest": digest})

    def get_bytes(self, digest: str, *, verify: bool = False) -> bytes:
        """Give the content; with *verify*, raise Corrupt when it does not have this digest."""
        data = send(self._http, "GET", f"/objects/{digest}").content
        if verify and digest_of(data) != digest:
            raise Corrupt(f"object {digest} arrived with other bytes; fetch it again")
        return data

    def get_file(self, digest: str, path: Path, *, verify: bool = False) -> None:
        """Write the content to *path*, whole or not at all."""
        data = self.get_bytes(digest, verify=verify)
        with replacing(path) as (_, file):
            file.write(data)

    def open_object(self, digest: str) -> BinaryIO:
        """Give the content as a binary file in memory."""
        return io.BytesIO(self.get_bytes(digest))

    def exists(self, digest: str) -> bool:
        """Tell whether the object is there."""
        try:
            self.size(digest)
        except NotFound:
            return False
        return True

    def size(self, digest: str) -> int:
        """Give the number of bytes; raises NotFound."""
        # The answer to HEAD has no body that could name the error.
        try:
            reply = self._http.head(f"/objects/{digest}")
        except httpx2.TransportError as error:
            raise no_answer(self._http, error) from error
        if reply.status_code == 404:
            raise NotFound(f"no object {digest}", digest=digest)
        return int(reply.raise_for_status().headers["content-length"])

    def delete(self, digest: str) -> None:
        """Refuse: raises Unsupported."""
        raise Unsupported(self.lacks["delete"])

    def list(self) -> Iterator[str]:
        """Refuse: raises Unsupported."""
        raise Unsupported(self.lacks["list"])

    def stored(self) -> Iterator[StoredObject]:
        """Refuse: raises Unsupported."""
        raise Unsupported(self.lacks["list"])

    def renew(self, digest: str) -> int:
        """Give the size; the control plane renews what it is told to refer to."""
        return self.size(digest)

    def discard(self, digest: str, *, before: datetime) -> bool:
        """Refuse: raises Unsupported."""
        raise Unsupported(self.lacks["delete"])

    def presigned(self, digest: str, *, expires_s: float) -> str:
        """Raise Unsupported."""
        raise Unsupported(self.lacks["presigned"])


def _digest(reply: httpx2.Response) -> str:
    return str(msgspec.json.decode(reply.content)["digest"])
