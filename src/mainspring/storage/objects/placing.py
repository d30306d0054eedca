"""Files that appear whole or not at all: written beside their place and moved there."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mainspring.core.errors import Unavailable


@contextlib.contextmanager
def temporary(folder: Path, prefix: str = "") -> Iterator[tuple[Path, BinaryIO]]:
    """A new file in *folder*, gone at the end unless it was moved away."""
    handle, name = tempfile.mkstemp(prefix=prefix, dir=folder)
    path = Path(name)
    try:
        with os.fdopen(handle, "w+b") as file:
            yield path, file
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A file that takes the place of *path* at the end, unless an error comes first."""
    with temporary(path.parent, f".{path.name}.") as (beside, file):
        yield beside, file
        file.flush()
        beside.chmod(0o644)
        beside.replace(path)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the operating system says about a full or read-only disk into Unavailable."""
    try:
        yield
    except OSError as error:
        raise Unavailable(f"cannot write under {path}: {error.strerror or error}", path=str(path)) from error
