"""A tree is canonical, and nothing in it can leave its folder."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from mainspring.core.errors import AlreadyExists, Corrupt, InvalidData, NotFound
from mainspring.storage.objects.digests import digest_of
from mainspring.storage.objects.drivers.local import LocalObjects
from mainspring.storage.objects.tree import TreeEntry, get_tree, put_entries, put_tree, remove_tree_folder, tree_entries


@pytest.fixture
def store(tmp_path: Path) -> LocalObjects:
    return LocalObjects(tmp_path / "objects")


def test_the_same_files_are_the_same_tree_whatever_their_times_and_order(store: LocalObjects, tmp_path: Path) -> None:
    for folder, names in (("one", ["a", "b"]), ("two", ["b", "a"])):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).write_text(name)
    assert put_tree(store, tmp_path / "one") == put_tree(store, tmp_path / "two")


def test_a_changed_or_renamed_file_is_another_tree(store: LocalObjects) -> None:
    data = store.put_bytes(b"x")
    trees = {put_entries(store, [TreeEntry(path, data, 1)]) for path in ("a", "b", "a/b")}
    assert len(trees) == 3


def test_a_link_in_a_folder_is_refused(store: LocalObjects, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "passwords").symlink_to("/etc/passwd")
    with pytest.raises(InvalidData, match="passwords is a link"):
        put_tree(store, tmp_path / "folder")


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "a//x", "", ".", "a/.", "a\\x", "a\0x"])
def test_a_path_that_could_leave_the_folder_is_refused_when_put_and_when_got(
    store: LocalObjects, tmp_path: Path, path: str
) -> None:
    entry = TreeEntry(path, store.put_bytes(b"x"), 1)
    with pytest.raises(InvalidData, match="not a path inside a tree"):
        put_entries(store, [entry])
    forged = store.put_bytes(msgspec.json.encode({"format": "mainspring-tree-1", "files": [entry]}))
    with pytest.raises(Corrupt, match="not a tree"):
        get_tree(store, forged, tmp_path / "to")


@pytest.mark.parametrize("paths", [("a", "a"), ("a", "a/b")])
def test_files_that_cannot_exist_together_are_refused(store: LocalObjects, paths: tuple[str, str]) -> None:
    data = store.put_bytes(b"x")
    with pytest.raises(InvalidData):
        put_entries(store, [TreeEntry(path, data, 1) for path in paths])


def test_an_object_that_is_no_tree_is_corrupt(store: LocalObjects) -> None:
    with pytest.raises(Corrupt, match="not a tree"):
        tree_entries(store, store.put_bytes(b"just bytes"))
    with pytest.raises(Corrupt, match="mainspring-tree-9"):
        tree_entries(store, store.put_bytes(b'{"format":"mainspring-tree-9","files":[]}'))


def test_a_tree_with_a_missing_file_makes_no_folder(store: LocalObjects, tmp_path: Path) -> None:
    tree = put_entries(store, [TreeEntry("a", digest_of(b"never stored"), 12)])
    with pytest.raises(NotFound):
        get_tree(store, tree, tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_a_folder_with_files_in_it_is_never_overwritten(store: LocalObjects, tmp_path: Path) -> None:
    tree = put_entries(store, [TreeEntry("a", store.put_bytes(b"new"), 3)])
    get_tree(store, tree, tmp_path / "to")
    (tmp_path / "to" / "a").write_bytes(b"mine")
    with pytest.raises(AlreadyExists):
        get_tree(store, tree, tmp_path / "to")
    assert (tmp_path / "to" / "a").read_bytes() == b"mine"


def test_a_removed_folder_is_gone_with_all_that_was_in_it(store: LocalObjects, tmp_path: Path) -> None:
    tree = put_entries(store, [TreeEntry("deep/a", store.put_bytes(b"x"), 1)])
    get_tree(store, tree, tmp_path / "to")
    remove_tree_folder(tmp_path / "to")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["objects"]
