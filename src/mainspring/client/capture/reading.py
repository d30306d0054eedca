"""What a run printed, as it was kept."""

from __future__ import annotations

from pathlib import Path


def kept_output(folder: Path) -> bytes:
    """Give what was kept, and say where something is left out."""
    files = sorted(folder.glob("[0-9]*")) if folder.is_dir() else []
    parts: list[bytes] = []
    for number, file in enumerate(files):
        if number and int(file.name) != int(files[number - 1].name) + 1:
            parts.append(b"... the middle of the output is left out: only its beginning and its end are kept ...\n")
        parts.append(file.read_bytes())
    return b"".join(parts)
