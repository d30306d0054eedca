"""Which files of a hub's model are taken: of weights that are there twice, those that are only data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from mainspring.core.errors import InvalidData
from mainspring.registry.hub.model import HubFile

_WEIGHTS = re.compile(
    r"(.*/)?(pytorch_model.*\.bin(\.index\.json)?|model.*\.(bin|pt|pth|ckpt)(\.index\.json)?|.*\.(h5|msgpack|ot|pkl|pickle)"
    r"|consolidated.*\.pth|training_args\.bin|optimizer\.(bin|pt)|scheduler\.pt|rng_state.*\.pth)"
)
_NEVER = re.compile(r"(.*/)?(\.git(attributes|ignore|keep)?|\.cache/.*|\.huggingface/.*)")


def choose(files: Sequence[HubFile], include: Sequence[str] = (), exclude: Sequence[str] = ()) -> list[HubFile]:
    """Give the files to take: those that match *include* if any is given, none of *exclude*.

    Without *include*, weights in other formats are left out where there are safetensors of them in the same folder.
    Raises InvalidData for a path that leads out of the model, and when nothing is left.
    """
    for file in files:
        _check(file.path)
    kept = [file for file in files if not _NEVER.fullmatch(file.path)]
    if include:
        kept = [file for file in kept if any(fnmatchcase(file.path, pattern) for pattern in include)]
    else:
        safe = {_folder(file.path) for file in kept if file.path.endswith(".safetensors")}
        kept = [file for file in kept if not (_folder(file.path) in safe and _WEIGHTS.fullmatch(file.path))]
    kept = [file for file in kept if not any(fnmatchcase(file.path, pattern) for pattern in exclude)]
    if not kept:
        raise InvalidData(f"none of the {len(files)} files of the model is to be taken; look at include and exclude")
    return kept


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _check(path: str) -> None:
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\\" in path or "\0" in path or ":" in parts[0]:
        raise InvalidData(f"the hub names a file {path!r}, which is no path inside a model")
