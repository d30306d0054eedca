"""What lies inside of files: members of archives, compressed bytes, arrays; each given as a file of its own.

Checksums, passwords' flags and names that contradict each other are let be: whoever loads a model may not look at
them, and what is loaded has to be seen.
"""

from __future__ import annotations

import bz2
import io
import lzma
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, BinaryIO, cast

import msgspec

from mainspring.core.errors import MainspringError

MAX_UNPACKED_BYTES = 16 << 30
MAX_MEMBERS = 50_000
_CHUNK = 1 << 20
_IN_MEMORY = 16 << 20
_LOCAL, _END = b"PK\x03\x04", b"PK\x05\x06"
_HEADER = struct.Struct("<4s5H3I2H")
_CLOSED = {
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!": "RAR",
    b"\x04\x22\x4d\x18": "LZ4",
    b"\x28\xb5\x2f\xfd": "Zstandard",
}


class TooMuch(MainspringError):
    """There is more in a file than a scan unpacks."""


class Part(msgspec.Struct, frozen=True):
    """Bytes inside of a file, by name; or, without *file*, why they cannot be looked at."""

    name: str
    file: Any
    size: int
    problem: str = ""


class Window(io.RawIOBase):
    """A slice of a file, as a file."""

    def __init__(self, file: BinaryIO, start: int, end: int) -> None:
        self._file, self._start, self._size, self._at = file, start, max(0, end - start), 0

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that one can move in it."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a place."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        count = max(0, min(len(buffer), self._size - self._at))
        self._file.seek(self._start + self._at)
        data = self._file.read(count)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class Unpacking:
    """Gives what lies inside of files, up to a number of bytes and of members."""

    def __init__(self) -> None:
        self._bytes_left, self._members_left = MAX_UNPACKED_BYTES, MAX_MEMBERS

    def parts(self, file: BinaryIO, size: int) -> Iterator[Part]:
        """Give the parts of a file that is an archive, is compressed or is an array; nothing for any other.

        Raises TooMuch when there is more than is unpacked.
        """
        file.seek(0)
        head = file.read(512)
        for magic, kind in _CLOSED.items():
            if head.startswith(magic):
                yield Part("", None, 0, f"is packed with {kind}, which cannot be looked into")
        if head.startswith(_LOCAL) or _END in _tail(file, size):
            yield from self._zip(file, size)
        if head[257:262] == b"ustar":
            yield from self._tar(file, size)
        if head.startswith(b"\x93NUMPY"):
            yield from _objects_of_array(file, size, head)
        if (unpack := _decompressor(head)) is not None:
            file.seek(21 if head.startswith(b"ZF") else 0)
            yield self._unpacked("unpacked", file, unpack)

    def _zip(self, file: BinaryIO, size: int) -> Iterator[Part]:
        found: dict[int, tuple[str, int, int]] = {}
        try:
            with zipfile.ZipFile(file) as archive:
                for info in archive.infolist():
                    found[info.header_offset] = (info.orig_filename, info.compress_size, info.compress_type)
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, struct.error, EOFError):
            found = {}
        if not found or _tail(file, size).count(_END) > 1:
            for offset in _local_headers(file, size):
                found.setdefault(offset, ("", -1, -1))
        for offset, (name, packed, method) in sorted(found.items()):
            yield from self._member(file, size, offset, name, packed, method)

    def _member(self, file: BinaryIO, size: int, offset: int, name: str, packed: int, method: int) -> Iterator[Part]:
        self._members_left -= 1
        if self._members_left < 0:
            raise TooMuch("has more members than a scan looks at")
        file.seek(offset)
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size or not header.startswith(_LOCAL):
            yield Part(name, None, 0, "is named in the archive and is not where it should be")
            return
        _, _, _, local_method, _, _, _, local_packed, _, name_bytes, extra_bytes = _HEADER.unpack(header)
        local_name = file.read(name_bytes).decode("utf-8", "replace")
        start = offset + _HEADER.size + name_bytes + extra_bytes
        if packed < 0:
            packed = local_packed if 0 < local_packed < 0xFFFFFFFF else size - start
        if name and local_name != name:
            yield Part(name, None, 0, f"has the names {name!r} and {local_name!r} in one archive")
        end = min(size, start + packed)
        for one in dict.fromkeys([method, local_method]):
            if one == zipfile.ZIP_STORED:
                yield Part(name or local_name, io.BufferedReader(Window(file, start, end)), max(0, end - start))
            elif one == zipfile.ZIP_DEFLATED:
                yield self._of_window(name or local_name, file, start, end, lambda: zlib.decompressobj(-zlib.MAX_WBITS))
            elif one == zipfile.ZIP_BZIP2:
                yield self._of_window(name or local_name, file, start, end, bz2.BZ2Decompressor)
            elif one >= 0:
                yield Part(name or local_name, None, 0, f"is packed by method {one}, which cannot be looked into")

    def _of_window(self, name: str, file: BinaryIO, start: int, end: int, unpack: Callable[[], Any]) -> Part:
        window = io.BufferedReader(Window(file, start, end))
        return self._unpacked(name, cast(BinaryIO, window), unpack)

    def _tar(self, file: BinaryIO, size: int) -> Iterator[Part]:
        file.seek(0)
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                for member in archive:
                    self._members_left -= 1
                    if self._members_left < 0:
                        raise TooMuch("has more members than a scan looks at")
                    start, end = member.offset_data, min(size, member.offset_data + member.size)
                    if member.isreg():
                        yield Part(member.name, io.BufferedReader(Window(file, start, end)), max(0, end - start))
        except (tarfile.TarError, ValueError, OSError, EOFError) as error:
            yield Part("", None, 0, f"is an archive that cannot be read: {error}")

    def _unpacked(self, name: str, file: BinaryIO, unpack: Callable[[], Any]) -> Part:
        kept: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  (it closes itself)
        count = 0
        for data in _decompressed(file, unpack):
            count += len(data)
            self._bytes_left -= len(data)
            if self._bytes_left < 0:
                kept.close()
                raise TooMuch(f"unpacks to more than {MAX_UNPACKED_BYTES} bytes")
            kept.write(data)
        return Part(name, kept, count)


def _decompressed(file: BinaryIO, unpack: Callable[[], Any]) -> Iterator[bytes]:
    """Give what comes out, of one stream after the other; of what is damaged, all up to there, as a loader gets it."""
    decompressor = unpack()
    try:
        while chunk := file.read(_CHUNK):
            while chunk:
                if decompressor.eof:
                    decompressor = unpack()
                yield decompressor.decompress(chunk, _CHUNK)
                if decompressor.eof:
                    chunk = decompressor.unused_data
                    continue
                chunk = getattr(decompressor, "unconsumed_tail", b"")
                while not chunk and not decompressor.eof and not getattr(decompressor, "needs_input", True):
                    yield decompressor.decompress(b"", _CHUNK)
                if decompressor.eof:
                    chunk = decompressor.unused_data
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError):
        return


def _decompressor(head: bytes) -> Callable[[], Any] | None:
    if head.startswith(b"\x1f\x8b"):
        return lambda: zlib.decompressobj(zlib.MAX_WBITS | 16)
    if head.startswith(b"BZh"):
        return bz2.BZ2Decompressor
    if head.startswith((b"\xfd7zXZ", b"\x5d\x00")):
        return lzma.LZMADecompressor
    if head.startswith(b"ZF0x") or (head[:1] == b"\x78" and len(head) > 1 and (0x7800 | head[1]) % 31 == 0):
        return zlib.decompressobj
    return None


def _objects_of_array(file: BinaryIO, size: int, head: bytes) -> Iterator[Part]:
    """Give the pickle in an array of objects; arrays of numbers have none."""
    wide = head[6:7] > b"\x01"
    width = 4 if wide else 2
    if len(head) < 8 + width:
        return
    start = 8 + width + int.from_bytes(head[8 : 8 + width], "little")
    file.seek(8 + width)
    said = file.read(min(start - 8 - width, 1 << 20))
    if b"O" in said:
        yield Part("objects", io.BufferedReader(Window(file, start, size)), max(0, size - start))


def _tail(file: BinaryIO, size: int) -> bytes:
    count = min(size, 65_557)
    file.seek(size - count)
    return file.read(count)


def _local_headers(file: BinaryIO, size: int) -> Iterator[int]:
    at, before = 0, b""
    file.seek(0)
    while chunk := file.read(_CHUNK):
        data = before + chunk
        place = data.find(_LOCAL)
        while place >= 0:
            yield at - len(before) + place
            place = data.find(_LOCAL, place + 1)
        at, before = at + len(chunk), data[-3:]
        file.seek(at)
