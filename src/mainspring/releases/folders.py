"""Model files on this machine: one folder for each tree, named by its digest, whole or not there."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mainspring.core.errors import AlreadyExists
from mainspring.storage.objects.digests import hexadecimal
from mainspring.storage.objects.store import ObjectStore
from mainspring.storage.objects.tree import get_tree, remove_tree_folder


class ModelFolders:
    """The folders below *root*, filled from *objects*; several processes may fill them at once."""

    def __init__(self, objects: ObjectStore, root: Path) -> None:
        self._objects = objects
        self._root = root

    def materialise(self, digest: str) -> Path:
        """Give the folder with the files of a tree, each verified when it is made.

        Raises NotFound when the tree is not in the store, Corrupt when it is damaged.
        """
        folder = self._root / hexadecimal(digest)
        if not folder.exists():
            try:
                get_tree(self._objects, digest, folder)
            except AlreadyExists:
                return folder  # Another process was first, with the same files.
        return folder

    def keep_only(self, digests: Iterable[str]) -> None:
        """Remove every folder but those of these trees."""
        kept = {hexadecimal(digest) for digest in digests}
        if self._root.exists():
            for folder in self._root.iterdir():
                if folder.name not in kept and not folder.name.startswith("."):
                    remove_tree_folder(folder)
