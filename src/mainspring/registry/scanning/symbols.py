"""What a pickle is followed with: the bytes, and symbols for the values that it would make."""

from __future__ import annotations

import re
from typing import Any, BinaryIO

MAX_TEXT = 4096
"""Names are shorter; longer texts are followed as something that has no value."""


class Global:
    """A name that was imported."""

    __slots__ = ("module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    @property
    def dotted(self) -> str:
        """Give ``module.name``."""
        return f"{self.module}.{self.name}"


class Made:
    """What came of a call, with its arguments as far as they are followed and the state that was put in."""

    __slots__ = ("arguments", "maker", "state")

    def __init__(self, maker: Any, arguments: Any) -> None:
        self.maker, self.arguments, self.state = maker, arguments, None


class Unknown:
    """The type of `UNKNOWN`."""

    __slots__ = ()


class Broken(Exception):
    """The bytes go on as no pickle does."""


UNKNOWN = Unknown()
"""A value that is not followed."""
MARK = object()
"""Where a list of values begins on the stack."""


class Source:
    """The bytes of a file from *start* to *end*."""

    def __init__(self, file: BinaryIO, start: int, end: int) -> None:
        self.file, self.at, self.end = file, start, end
        file.seek(start)

    def read(self, count: int) -> bytes:
        """Give exactly *count* bytes; raises Broken when there are not as many."""
        data = self.file.read(count) if self.at + count <= self.end else b""
        if len(data) != count:
            raise Broken("it ends too early")
        self.at += count
        return data

    def skip(self, count: int) -> None:
        """Pass over *count* bytes."""
        if count < 0 or self.at + count > self.end:
            raise Broken("it ends too early")
        self.at += count
        self.file.seek(self.at)

    def line(self) -> bytes:
        """Give a line without its end; of a long one the beginning."""
        kept = b""
        while self.at < self.end:
            part = self.file.readline(min(MAX_TEXT, self.end - self.at))
            self.at += len(part)
            kept = kept or part
            if part.endswith(b"\n"):
                return kept.removesuffix(b"\n")
            if not part:
                break
        raise Broken("it ends too early")


_DTYPE = re.compile(r"[<>|=]?([?bBhHiIlLqQefdgFDGSUVOmMuc])(\d*)")
_SIZES = {"?": 1, "b": 1, "B": 1, "h": 2, "H": 2, "e": 2, "i": 4, "I": 4, "f": 4, "O": 8}


def dtype_bytes(dtype: Any, depth: int = 8) -> int | None:
    """Give the size of an element; None where elements are objects."""
    if not depth or not isinstance(dtype, Made) or not isinstance(dtype.arguments, list) or not dtype.arguments:
        raise Broken("an array of joblib's does not say its type")
    found = _DTYPE.fullmatch(dtype.arguments[0]) if isinstance(dtype.arguments[0], str) else None
    if found is None:
        raise Broken("an array of joblib's has a type that cannot be read")
    kind, digits = found.groups()
    if kind == "O" or _has_objects(dtype.state, depth):
        return None
    size = int(digits) if digits else _SIZES.get(kind, 8)
    return size * 4 if kind == "U" else size


def _has_objects(state: Any, depth: int) -> bool:
    for part in state if isinstance(state, list) else []:
        for field in part.values() if isinstance(part, dict) else []:
            inner = field[0] if isinstance(field, list) and field else None
            if isinstance(inner, Made) and dtype_bytes(inner, depth - 1) is None:
                return True
    return False
