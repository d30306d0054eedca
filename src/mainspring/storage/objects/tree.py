"""Trees: a folder as one object, which lists the digests of its files.

A tree is canonical: the same relative paths with the same contents have the same digest, whatever the machine, the
times or the order of the folder. Links and special files are refused, empty folders and permissions are not kept.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import msgspec

from mainspring.core.errors import AlreadyExists, Corrupt, InvalidData
from mainspring.storage.objects.store import ObjectStore

FORMAT = "mainspring-tree-1"


class TreeEntry(msgspec.Struct, frozen=True):
    """One file: its path with forward slashes relative to the tree, its digest, its number of bytes."""

    path: str
    digest: str
    size: int


class _Tree(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: str
    files: list[TreeEntry]


def put_tree(store: ObjectStore, folder: Path) -> str:
    """Store every file below *folder* and give the digest of the tree.

    Raises InvalidData for a link, a special file, or a name that another machine could not hold.
    """
    if not folder.is_dir():
        raise InvalidData(f"{folder} is not a folder")
    return put_entries(store, [_put_file(store, folder, path) for path in _files(folder)])


def put_entries(store: ObjectStore, entries: Iterable[TreeEntry]) -> str:
    """Store the tree of files that are in the store already; raises InvalidData for unsafe or repeated paths."""
    files = sorted(entries, key=lambda entry: entry.path)
    _check([entry.path for entry in files])
    return store.put_bytes(msgspec.json.encode(_Tree(FORMAT, files)))


def tree_entries(store: ObjectStore, digest: str) -> list[TreeEntry]:
    """List the files of a tree by path; raises NotFound, and Corrupt for an object that is no sound tree."""
    data = store.get_bytes(digest, verify=True)
    try:
        tree = msgspec.json.decode(data, type=_Tree)
        if tree.format != FORMAT:
            raise InvalidData(f"its format is {tree.format!r}, not {FORMAT!r}")
        _check([entry.path for entry in tree.files])
    except (msgspec.DecodeError, InvalidData) as error:
        raise Corrupt(f"object {digest} is not a tree: {error}", digest=digest) from error
    return tree.files


def get_tree(store: ObjectStore, digest: str, folder: Path) -> None:
    """Make *folder* with the files of the tree, each verified; it appears whole or not at all.

    Raises AlreadyExists when *folder* is there and not empty, NotFound when the tree or a file of it is not in the
    store, Corrupt when stored bytes are damaged.
    """
    entries = tree_entries(store, digest)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.", ignore_cleanup_errors=True) as made:
        inside = Path(made) / "tree"
        inside.mkdir()
        for entry in entries:
            path = inside / entry.path
            path.parent.mkdir(parents=True, exist_ok=True)
            store.get_file(entry.digest, path, verify=True)
        try:
            inside.replace(folder)
        except OSError as error:
            if not folder.exists():
                raise
            raise AlreadyExists(f"{folder} exists and is not an empty folder", path=str(folder)) from error


def remove_tree_folder(folder: Path) -> None:
    """Remove a folder that `get_tree` made; it is gone from its place at once."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.", ignore_cleanup_errors=True) as bin_:
        folder.replace(Path(bin_) / "tree")
        shutil.rmtree(Path(bin_) / "tree", ignore_errors=True)


def _files(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = Path(entry.path)
            if entry.is_symlink() or not (entry.is_dir() or entry.is_file()):
                raise InvalidData(f"{path} is a link or a special file: a tree holds plain files only", path=str(path))
            if entry.is_dir():
                yield from _files(path)
                continue
            yield path


def _put_file(store: ObjectStore, folder: Path, path: Path) -> TreeEntry:
    digest = store.put_file(path)
    return TreeEntry(path.relative_to(folder).as_posix(), digest, store.size(digest))


def _check(paths: list[str]) -> None:
    """Refuse paths that would leave the folder, or that cannot all exist together."""
    seen: set[str] = set()
    for path in paths:
        parts = path.split("/")
        if not path or any(part in ("", ".", "..") for part in parts) or any(c in path for c in "\\\0"):
            raise InvalidData(f"{path!r} is not a path inside a tree: expected names joined by single slashes")
        if path in seen:
            raise InvalidData(f"{path!r} stands in the tree twice")
        seen.add(path)
    for path in seen:
        for parent in PurePosixPath(path).parents:
            if str(parent) in seen:
                raise InvalidData(f"{str(parent)!r} is a file and a folder at once in this tree")
