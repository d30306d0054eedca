"""Images."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

from mainspring.client.media.values import Encoded, Medium, array_of, library_of, of_file
from mainspring.core.errors import InvalidRequest
from mainspring.tracking.media.model import MediaKind

_KINDS: dict[str, MediaKind] = dict.fromkeys((".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".svg"), "image")
_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}
"""What PNG calls one channel (grey), two (grey, alpha), three (RGB) and four (RGBA)."""
MAX_PIXELS = 100_000_000


class Image(Medium):
    """An image: an array (height, width) or (height, width, 1 to 4), an image of Pillow, a figure, or a file.

    Whole numbers are from 0 to 255, fractions from 0 to 1; what is beyond is cut off. Torch's (channels, height, width)
    is told from the size of its first axis.
    """

    def __init__(self, value: Any, caption: str | None = None) -> None:
        self._value, self._caption = value, caption

    def encode(self) -> Encoded:
        """Give it as a PNG, or the file as it is."""
        value = self._value
        if isinstance(value, str | Path):
            return of_file(value, _KINDS, self._caption)
        if library_of(value) == "PIL":
            return self._of_pillow(value)
        if hasattr(value, "savefig"):
            buffer = io.BytesIO()
            value.savefig(buffer, format="png")
            return Encoded("image", ".png", buffer.getvalue(), self._caption, [*_size_of_png(buffer.getvalue())])
        array = pixels_of(value)
        return Encoded("image", ".png", png_of(array), self._caption, [*array.shape])

    def _of_pillow(self, image: Any) -> Encoded:
        if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"):
            image = image.convert("RGB")
        buffer = io.BytesIO()
        image.save(buffer, format="PNG")
        shape = [image.height, image.width, len(image.getbands())]
        return Encoded("image", ".png", buffer.getvalue(), self._caption, shape)


def pixels_of(value: Any) -> Any:
    """Give an array of bytes (height, width, channels); raises InvalidRequest for what is no image."""
    import numpy

    array = array_of(value, "an image")
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim == 3 and array.shape[2] not in _COLOURS and array.shape[0] in _COLOURS:
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or array.shape[2] not in _COLOURS or 0 in array.shape:
        raise InvalidRequest(
            f"an array of the shape {tuple(numpy.shape(value))} is no image: expected (height, width), or with 1 to 4 "
            "channels behind"
        )
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise InvalidRequest(f"an image of {array.shape[1]} x {array.shape[0]} is too large to be looked at")
    if array.dtype.kind == "f":
        array = numpy.nan_to_num(array, nan=0.0, posinf=1.0, neginf=0.0).clip(0.0, 1.0) * 255 + 0.5
    elif array.dtype.kind == "b":
        array = array * 255
    return array.clip(0, 255).astype(numpy.uint8)


def png_of(pixels: Any) -> bytes:
    """Write an array of bytes (height, width, channels) as PNG."""
    import numpy

    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOURS[channels], 0, 0, 0)
    # Each row begins with the number of its filter; 2 says that it is the difference to the row above.
    rows = numpy.empty((height, 1 + width * channels), numpy.uint8)
    flat = pixels.reshape(height, width * channels)
    rows[:, 0] = 2
    rows[0, 1:] = flat[0]
    rows[1:, 1:] = flat[1:] - flat[:-1]
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _size_of_png(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack(">II", data[16:24])
    return height, width
