"""Request and response bodies that are compressed: read with a bound on their size, written for large answers."""

from __future__ import annotations

import zlib

from mainspring.core.errors import InvalidRequest, TooLarge, Unsupported

WORTH_BYTES = 8192


def why_malformed(error: Exception, body: bytes) -> str:
    """Tell why JSON could not be read, with the remedy for the number that JSON does not have."""
    hint = "; NaN is no JSON: send null where a value is not known" if b"NaN" in body else ""
    return f"{error}{hint}"


def inflate(body: bytes, encoding: bytes, max_bytes: int) -> bytes:
    """Give the plain bytes of a ``gzip`` or ``deflate`` body.

    Raises Unsupported for another encoding, InvalidRequest for broken data, TooLarge beyond *max_bytes*.
    """
    encoding = encoding.strip().lower()
    if encoding in (b"", b"identity"):
        return body
    if encoding not in (b"gzip", b"x-gzip", b"deflate"):
        raise Unsupported(f"content-encoding {encoding.decode('latin-1')!r} is not read; expected gzip or deflate")
    # 32 + 15 reads the header of either zlib or gzip; some clients send deflate without any header.
    for window in (32 + 15, -15):
        unpacker = zlib.decompressobj(window)
        try:
            plain = unpacker.decompress(body, max_bytes + 1)
        except zlib.error as broken:
            if window > 0 and encoding == b"deflate":
                continue
            raise InvalidRequest(f"the body is not {encoding.decode()}: {broken}") from None
        if len(plain) > max_bytes:
            raise TooLarge(f"the body unpacks to more than {max_bytes} bytes; send fewer rows at once")
        if not unpacker.eof:
            raise InvalidRequest(f"the {encoding.decode()} body ends too early")
        return plain
    raise InvalidRequest("the body is not deflate data")


def deflate(body: bytes, accepted: bytes | None) -> tuple[bytes, bytes]:
    """Compress an answer that is worth it, if the client accepts that; gives the body and the header line for it."""
    if accepted is None or len(body) < WORTH_BYTES:
        return body, b""
    choices = accepted.lower()
    if b"gzip" in choices:
        packer = zlib.compressobj(1, zlib.DEFLATED, 16 + 15)
        return packer.compress(body) + packer.flush(), b"content-encoding: gzip\r\n"
    if b"deflate" in choices:
        return zlib.compress(body, 1), b"content-encoding: deflate\r\n"
    return body, b""
