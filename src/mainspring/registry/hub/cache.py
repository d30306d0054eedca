"""The layout of the hub's cache on disk: ``models--org--name`` with blobs, refs and snapshots."""

from __future__ import annotations

import os
import re
from pathlib import Path

from mainspring.core.errors import InvalidData, InvalidRequest, NotFound
from mainspring.registry.hub.digests import check_file, plain_etag
from mainspring.registry.hub.model import HubFile, HubSnapshot

_COMMIT = re.compile(r"[0-9a-f]{40}")
_NAME = re.compile(r"models--(?P<name>.+)")


def open_cache(folder: Path, revision: str | None = None) -> HubSnapshot:
    """Read a model's folder in the cache, or the folder of one of its snapshots.

    Without *revision* it is ``main``, or the only one there is. Raises InvalidRequest when the folder is neither,
    NotFound when it has no such revision.
    """
    if folder.parent.name == "snapshots" and _NAME.fullmatch(folder.parent.parent.name):
        return _snapshot(folder.parent.parent, folder.name, revision or folder.name)
    named = _NAME.fullmatch(folder.name)
    if named is None or not (folder / "snapshots").is_dir():
        raise InvalidRequest(
            f"{folder} is no model in a hub's cache: expected models--ORG--NAME with a folder snapshots in it"
        )
    return _snapshot(folder, _commit(folder, revision), revision or "main")


def path_of(folder: Path, snapshot: HubSnapshot, file: HubFile) -> Path:
    """Give where the content of a file is, checked against the digest that it is kept by.

    Raises InvalidData for a link that leads out of the model's folder, Corrupt for content of another digest.
    """
    root = folder if (folder / "snapshots").is_dir() else folder.parent.parent
    path = root / "snapshots" / snapshot.commit / file.path
    found = Path(os.path.realpath(path))
    if not found.is_relative_to(os.path.realpath(root)) or not found.is_file():
        raise InvalidData(f"{path} leads to {found}, which is no file of this model")
    if file.etag is not None:
        check_file(found, file.etag, file.path)
    return found


def _commit(folder: Path, revision: str | None) -> str:
    known = sorted(entry.name for entry in (folder / "snapshots").iterdir() if entry.is_dir())
    if revision is not None and revision in known:
        return revision
    ref = (folder / "refs").joinpath(*(revision or "main").split("/"))
    if ref.is_file() and ".." not in (revision or ""):
        commit = ref.read_text(encoding="utf-8").strip()
        if commit in known:
            return commit
    if revision is None and len(known) == 1:
        return known[0]
    wanted = f"no revision {revision}" if revision else "more than one snapshot, or none, and no ref main"
    raise NotFound(f"{folder} has {wanted}; it has {', '.join(known) or 'nothing'}")


def _snapshot(folder: Path, commit: str, revision: str) -> HubSnapshot:
    if not _COMMIT.fullmatch(commit):
        raise InvalidData(f"{folder}/snapshots/{commit} is not named by a commit")
    named = _NAME.fullmatch(folder.name)
    assert named is not None, "the caller has looked at the name"
    root, files = folder / "snapshots" / commit, []
    for path in sorted(root.rglob("*")):
        if path.is_dir():
            continue
        # What is linked to a blob is named there by its digest; a copy has none to be held against.
        etag = plain_etag(path.readlink().name) if path.is_symlink() else None
        files.append(HubFile(path=path.relative_to(root).as_posix(), size=None, etag=etag))
    name = named["name"].replace("--", "/")
    return HubSnapshot(repository=name, revision=revision, commit=commit, files=files)
