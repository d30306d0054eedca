"""A model's folder is whole or not there, however many make it at once."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from mainspring.core.errors import Corrupt, InvalidRequest
from mainspring.releases.folders import ModelFolders
from mainspring.storage.objects.drivers.local import LocalObjects
from mainspring.storage.objects.tree import TreeEntry, put_entries


@pytest.fixture
def objects(tmp_path: Path) -> LocalObjects:
    return LocalObjects(tmp_path / "objects")


def test_many_who_make_a_folder_at_once_get_the_same_whole_one(objects: LocalObjects, tmp_path: Path) -> None:
    entries = [TreeEntry(f"part/{n}", objects.put_bytes(b"%d" % n), 1) for n in range(20)]
    tree = put_entries(objects, entries)
    found: list[int] = []
    folders = ModelFolders(objects, tmp_path / "models")

    def make() -> None:
        found.append(len(list((folders.materialise(tree) / "part").iterdir())))

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [20] * 6
    assert len(list((tmp_path / "models").iterdir())) == 1


def test_a_damaged_tree_makes_no_folder(objects: LocalObjects, tmp_path: Path) -> None:
    with pytest.raises(Corrupt):
        ModelFolders(objects, tmp_path / "models").materialise(objects.put_bytes(b"not a tree"))
    assert list((tmp_path / "models").glob("*")) == []


def test_only_folders_that_are_not_kept_are_removed(objects: LocalObjects, tmp_path: Path) -> None:
    folders = ModelFolders(objects, tmp_path / "models")
    trees = [put_entries(objects, [TreeEntry("x", objects.put_bytes(data), 1)]) for data in (b"a", b"b")]
    paths = [folders.materialise(tree) for tree in trees]
    folders.keep_only([trees[1]])
    assert [path.exists() for path in paths] == [False, True]


def test_a_digest_that_is_a_path_is_refused(objects: LocalObjects, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest):
        ModelFolders(objects, tmp_path / "models").materialise("sha256:../../etc")
