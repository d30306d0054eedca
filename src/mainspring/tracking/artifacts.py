"""The names of artifacts: relative paths that mean nothing to any file system until a client saves them."""

from __future__ import annotations

from mainspring.core.errors import InvalidRequest

MAX_PATH_CHARS = 1_000


def check_path(path: str) -> str:
    """Return *path*, or raise InvalidRequest when it could mean anything but a file below one folder."""
    parts = path.split("/")
    unsafe = "\\" in path or any(ord(c) < 32 or ord(c) == 127 for c in path)
    if unsafe or len(path) > MAX_PATH_CHARS or any(part in ("", ".", "..") for part in parts) or parts[0].endswith(":"):
        raise InvalidRequest(
            f"{path!r} cannot be the path of an artifact: expected names joined by '/', such as plots/roc.png",
            path=path,
        )
    return path


def parents(path: str) -> list[str]:
    """List the folders that *path* lies in: ``a/b/c`` lies in ``a`` and ``a/b``."""
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]
