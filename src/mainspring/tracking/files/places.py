"""Where artifacts lie: the addresses that clients use, and what they mean here. None of them is a path of a machine."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import unquote

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.tracking.artifacts import check_path

PlaceKind = Literal["run", "model", "trace", "free"]

_FILE_URI = re.compile(r"file:", re.IGNORECASE)
_MAX_DECODINGS = 8
_FOLDER = "artifacts"
_OWNERS: dict[str, PlaceKind] = {"models": "model", "traces": "trace"}


class Place(msgspec.Struct, frozen=True):
    """A folder of artifacts: that of a run, of a logged model, of a trace, or the one that belongs to nobody."""

    kind: PlaceKind
    id: str = ""

    @property
    def owner(self) -> str:
        """Give the name of the folder in the table of what no run owns."""
        return f"{self.kind}:{self.id}"


FREE = Place("free")


def safe_path(path: str) -> str:
    """Give *path*, or raise InvalidRequest when it, however often it is decoded, means more than a file in a folder.

    A client unpacks what it downloads under the names that it is told, so names that only some other reader would
    take for a way out are refused here too.
    """
    decoded = path
    for _ in range(_MAX_DECODINGS):
        check_path(decoded)
        if "#" in decoded or _FILE_URI.match(decoded):
            raise InvalidRequest(f"{path!r} cannot be the path of an artifact: it has a '#', or is a URI", path=path)
        before, decoded = decoded, unquote(decoded)
        if decoded == before:
            return path
    raise InvalidRequest(f"{path!r} cannot be the path of an artifact: it is encoded again and again", path=path)


def safe_folder(path: str) -> str:
    """Give *path* without a slash at its end as `safe_path` does; the empty one is the folder that holds all others."""
    path = path.removesuffix("/")
    return safe_path(path) if path else ""


def possible_places(address: str) -> list[tuple[Place, str]]:
    """Read an address such as ``7/0a1b/artifacts/model/MLmodel``: each place that it may mean, with the path there.

    What stands before ``artifacts`` may be a run, whatever stands before that; whether there is such a run is for the
    caller to say. The first that is right counts; that of nobody comes last and is always right.
    """
    parts = address.split("/")
    places: list[tuple[Place, str]] = []
    for at, part in enumerate(parts):
        if part != _FOLDER or at == 0:
            continue
        rest = "/".join(parts[at + 1 :])
        places.append((Place("run", parts[at - 1]), rest))
        kind = _OWNERS.get(parts[at - 2]) if at > 1 else None
        if kind is not None:
            places.append((Place(kind, parts[at - 1]), rest))
    return [*places, (FREE, address)]
