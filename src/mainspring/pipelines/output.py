"""The bounded log of an attempt: its beginning and its end, which are what one looks for."""

from __future__ import annotations

HEAD_BYTES = 16 << 10
TAIL_BYTES = 48 << 10


class Output:
    """Keeps the first 16 KiB and the last 48 KiB of what is added."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    def add(self, data: bytes) -> None:
        """Take what was written next."""
        room = HEAD_BYTES - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        if len(self._tail) > 2 * TAIL_BYTES:
            self._cut()

    def _cut(self) -> None:
        beyond = max(len(self._tail) - TAIL_BYTES, 0)
        self._dropped += beyond
        del self._tail[:beyond]

    def text(self) -> str:
        """Give what is kept, with a line that says how much is missing in between."""
        self._cut()
        if not self._dropped:
            # A character may lie across the border.
            return _readable(self._head + self._tail)
        head, tail = _readable(self._head), _readable(self._tail)
        return f"{head}\n[... {self._dropped} bytes left out ...]\n{tail}"


def _readable(data: bytearray) -> str:
    # PostgreSQL's texts hold no NUL.
    return data.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
