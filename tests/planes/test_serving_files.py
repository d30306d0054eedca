"""Model folders are laid out once and whole; of states that are published at once the newest one wins."""

from __future__ import annotations

import random
import shutil
import threading
from pathlib import Path

import pytest

from mainspring.core.errors import NotFound
from mainspring.planes.serving_files import ModelFolders, StatePublisher
from mainspring.runtime.snapshots import Watcher
from mainspring.serving.model import ServingState, decode_state
from mainspring.storage.objects.store import ObjectStore, open_objects
from mainspring.storage.objects.tree import put_tree


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return open_objects(f"file://{tmp_path / 'objects'}")


def tree(objects: ObjectStore, folder: Path, size: int = 3) -> str:
    folder.mkdir()
    for number in range(size):
        (folder / f"part-{number}").write_bytes(b"%d" % number * 1000)
    return put_tree(objects, folder)


def published(folder: Path) -> int:
    snapshot = Watcher(folder).current()
    assert snapshot is not None
    return decode_state(snapshot.payload).version


def test_a_model_is_laid_out_whole_while_many_ask_for_it(objects: ObjectStore, tmp_path: Path) -> None:
    digest = tree(objects, tmp_path / "model", 40)
    found: list[list[str]] = []

    def ask() -> None:
        # Each with folders of its own, as processes have.
        folder = ModelFolders(objects, tmp_path / "laid out").materialise(digest)
        found.append(sorted(path.name for path in folder.iterdir()))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [sorted(path.name for path in (tmp_path / "model").iterdir())] * 8


def test_a_model_that_is_not_there_leaves_no_folder(objects: ObjectStore, tmp_path: Path) -> None:
    folders = ModelFolders(objects, tmp_path / "laid out")
    with pytest.raises(NotFound):
        folders.materialise("sha256:" + "0" * 64)
    assert list((tmp_path / "laid out").iterdir()) == []


def test_a_folder_that_was_removed_is_laid_out_again(objects: ObjectStore, tmp_path: Path) -> None:
    folders = ModelFolders(objects, tmp_path / "laid out")
    digest = tree(objects, tmp_path / "model")
    shutil.rmtree(folders.materialise(digest))
    assert (folders.materialise(digest) / "part-0").is_file()


def test_an_older_state_never_replaces_a_newer_one(tmp_path: Path) -> None:
    versions = list(range(1, 33))
    random.Random(3).shuffle(versions)

    def publish(some: list[int]) -> None:
        publisher = StatePublisher(tmp_path)
        for version in some:
            publisher.publish(ServingState(version=version))

    threads = [threading.Thread(target=publish, args=(versions[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert published(tmp_path) == 32


def test_a_state_takes_the_place_of_snapshots_that_cannot_be_read(tmp_path: Path) -> None:
    publisher = StatePublisher(tmp_path)
    publisher.publish(ServingState(version=7))
    for file in tmp_path.glob("*.snap"):
        file.write_bytes(b"rotten")
    publisher.publish(ServingState(version=7))
    assert published(tmp_path) == 7
