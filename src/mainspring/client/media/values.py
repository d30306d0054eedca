"""What every kind of media has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.tracking.media.model import Fact, MediaKind


class Encoded(msgspec.Struct, frozen=True):
    """A medium as a file: its bytes, the end of its name, and what is worth knowing of it."""

    kind: MediaKind
    suffix: str
    data: bytes
    caption: str | None = None
    shape: list[int] = []
    facts: dict[str, Fact] = {}


class Medium(ABC):
    """Something that `RunLogger.log` takes beside numbers."""

    @abstractmethod
    def encode(self) -> Encoded:
        """Give it as a file; raises InvalidRequest for what cannot be one."""


def of_file(path: str | Path, kinds: Mapping[str, MediaKind], caption: str | None) -> Encoded:
    """Take a file as it is; *kinds* are those that its name may end with."""
    file = Path(path)
    suffix = file.suffix.lower()
    if suffix not in kinds:
        raise InvalidRequest(f"{file.name!r} ends with {suffix!r}: expected one of {', '.join(kinds)}")
    try:
        return Encoded(kinds[suffix], suffix, file.read_bytes(), caption)
    except OSError as error:
        raise InvalidRequest(f"{file} cannot be read: {error.strerror}", file=str(file)) from error


def library_of(value: Any) -> str:
    """Give the name of the library that a value's type is of."""
    return type(value).__module__.partition(".")[0]


def array_of(value: Any, what: str) -> Any:
    """Give a value as a NumPy array; raises InvalidRequest when it is none of numbers."""
    import numpy

    for step in ("detach", "cpu"):  # Torch keeps its numbers where NumPy does not look.
        if hasattr(value, step) and library_of(value) == "torch":
            value = getattr(value, step)()
    try:
        array = numpy.asarray(value)
    except (ValueError, TypeError) as error:
        raise InvalidRequest(f"{what} cannot be made of {type(value).__name__}: {error}") from error
    if array.dtype.kind not in "buif":
        raise InvalidRequest(f"{what} cannot be made of values of type {array.dtype}: expected numbers")
    return array
