"""Files that a run logger keeps until they have arrived, each under the digest of its content."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from mainspring.core.errors import InvalidData
from mainspring.storage.durable import flush_file, flush_path
from mainspring.storage.objects.digests import HashingReader, digest_of, hexadecimal
from mainspring.storage.objects.placing import temporary, writing


class KeptFiles:
    """A folder of files; one is there whole, and durable, or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put_bytes(self, data: bytes) -> str:
        """Keep these bytes and give their digest."""
        with writing(self.folder):
            self.folder.mkdir(exist_ok=True)
            with temporary(self.folder) as (incoming, file):
                file.write(data)
                _place(file, incoming, self.folder / hexadecimal(digest_of(data)))
        return digest_of(data)

    def put_file(self, path: Path) -> str:
        """Keep the content that the file has while it is read, and give its digest; raises OSError."""
        with path.open("rb") as source, writing(self.folder):
            self.folder.mkdir(exist_ok=True)
            reader = HashingReader(source)
            with temporary(self.folder) as (incoming, file):
                file.writelines(reader)
                _place(file, incoming, self.folder / hexadecimal(reader.digest))
        return reader.digest

    def path(self, digest: str) -> Path:
        """Give where the file is; raises InvalidData when it is not there any more."""
        path = self.folder / hexadecimal(digest)
        if not path.is_file():
            raise InvalidData(f"{path} is gone: what was kept there cannot be sent", digest=digest)
        return path

    def remove(self, digest: str) -> None:
        """Remove a file that has arrived."""
        (self.folder / hexadecimal(digest)).unlink(missing_ok=True)


def _place(file: BinaryIO, incoming: Path, place: Path) -> None:
    file.flush()
    flush_file(file.fileno())
    incoming.replace(place)
    flush_path(place.parent)
