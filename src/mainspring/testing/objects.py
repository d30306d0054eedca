"""The suite that every object store passes.

Use it in a test module of your own: subclass `ObjectStoreSuite` and `TreeSuite`, and give them two fixtures: ``store``
opens an empty store; ``damage(digest, data)`` puts other bytes where the store keeps an object, behind its back.
"""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mainspring.core.errors import Corrupt, InvalidRequest, NotFound
from mainspring.storage.objects.digests import digest_of
from mainspring.storage.objects.store import ObjectStore
from mainspring.storage.objects.tree import get_tree, put_tree, tree_entries
from mainspring.testing.capabilities import expect_what_is_lacking, needs

Damage = Callable[[str, bytes], None]
LARGE = bytes(range(256)) * 4096 * 20
ABSENT = digest_of(b"nobody stored this")


class ObjectStoreSuite:
    """The rules of `ObjectStore`, one test each."""

    @pytest.fixture(autouse=True)
    def _lacking(self, request: pytest.FixtureRequest, store: ObjectStore) -> None:
        expect_what_is_lacking(request, store.lacks)

    @pytest.mark.parametrize("data", [b"", b"hello", LARGE], ids=["empty", "small", "large"])
    def test_bytes_come_back_as_they_were_put(self, store: ObjectStore, data: bytes) -> None:
        digest = store.put_bytes(data)
        assert digest == digest_of(data)
        assert store.get_bytes(digest, verify=True) == data
        assert store.size(digest) == len(data)

    @pytest.mark.parametrize("data", [b"", b"hello", LARGE], ids=["empty", "small", "large"])
    def test_a_file_comes_back_as_it_was_put(self, store: ObjectStore, tmp_path: Path, data: bytes) -> None:
        (tmp_path / "from").write_bytes(data)
        digest = store.put_file(tmp_path / "from")
        assert digest == digest_of(data)
        store.get_file(digest, tmp_path / "to", verify=True)
        assert (tmp_path / "to").read_bytes() == data

    @pytest.mark.parametrize("data", [b"", b"hello", LARGE], ids=["empty", "small", "large"])
    def test_a_file_that_is_taken_over_is_stored_once(self, store: ObjectStore, tmp_path: Path, data: bytes) -> None:
        for _ in range(2):
            (tmp_path / "from").write_bytes(data)
            store.take_file(tmp_path / "from", digest_of(data))
        assert store.get_bytes(digest_of(data), verify=True) == data
        assert list(store.list()) == [digest_of(data)]

    def test_getting_a_file_replaces_what_is_there_and_leaves_nothing_beside_it(
        self, store: ObjectStore, tmp_path: Path
    ) -> None:
        folder = tmp_path / "got"
        folder.mkdir()
        (folder / "file").write_bytes(b"older and longer")
        store.get_file(store.put_bytes(b"new"), folder / "file")
        assert (folder / "file").read_bytes() == b"new"
        assert [path.name for path in folder.iterdir()] == ["file"]

    def test_an_opened_object_is_a_seekable_file(self, store: ObjectStore) -> None:
        with store.open_object(store.put_bytes(LARGE)) as file:
            assert file.read(3) == LARGE[:3]
            file.seek(1000)
            assert file.read(3) == LARGE[1000:1003]

    def test_the_same_bytes_are_one_object(self, store: ObjectStore, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"twice")
        digests = {store.put_bytes(b"twice"), store.put_bytes(b"twice"), store.put_file(tmp_path / "file")}
        assert list(store.list()) == list(digests)

    def test_many_may_put_the_same_bytes_at_once(self, store: ObjectStore) -> None:
        found: list[str] = []
        threads = [threading.Thread(target=lambda: found.append(store.put_bytes(b"raced"))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [digest_of(b"raced")] * 8
        assert store.get_bytes(found[0], verify=True) == b"raced"

    def test_a_listing_names_every_object_once(self, store: ObjectStore) -> None:
        digests = [store.put_bytes(b"%d" % number) for number in range(25)]
        assert sorted(store.list()) == sorted(digests)

    def test_an_object_that_is_not_there_is_not_found(self, store: ObjectStore, tmp_path: Path) -> None:
        assert not store.exists(ABSENT)
        for read in (store.get_bytes, store.open_object, store.size):
            with pytest.raises(NotFound, match=ABSENT):
                read(ABSENT)
        with pytest.raises(NotFound, match=ABSENT):
            store.get_file(ABSENT, tmp_path / "to")
        assert list(tmp_path.glob("*to*")) == []

    def test_a_deleted_object_is_gone_and_deleting_it_again_is_no_error(self, store: ObjectStore) -> None:
        digest = store.put_bytes(b"short-lived")
        store.delete(digest)
        store.delete(digest)
        assert not store.exists(digest)
        assert store.put_bytes(b"short-lived") == digest
        assert store.exists(digest)

    def test_only_what_nobody_stored_or_renewed_since_is_discarded(self, store: ObjectStore) -> None:
        digest = store.put_bytes(b"in use")
        (found,) = store.stored()
        assert (found.digest, found.size) == (digest, 6)
        assert abs(found.renewed - datetime.now(UTC)) < timedelta(minutes=1)
        assert not store.discard(digest, before=found.renewed)
        assert store.exists(digest)
        later = datetime.now(UTC) + timedelta(minutes=1)
        assert store.discard(digest, before=later)
        assert not store.discard(digest, before=later)
        assert not store.exists(digest)

    def test_renewing_an_object_keeps_it_and_tells_its_size(self, store: ObjectStore) -> None:
        digest = store.put_bytes(b"in use")
        assert store.renew(digest) == 6
        assert store.get_bytes(digest, verify=True) == b"in use"
        with pytest.raises(NotFound, match=ABSENT):
            store.renew(ABSENT)

    @pytest.mark.parametrize("name", ["", "sha256:", "../../etc/passwd", "sha256:" + "A" * 64, "md5:" + "0" * 32])
    def test_a_name_that_is_no_digest_is_refused(self, store: ObjectStore, name: str) -> None:
        for call in (store.get_bytes, store.exists, store.size, store.delete, store.renew):
            with pytest.raises(InvalidRequest):
                call(name)

    def test_damage_is_found_when_the_reader_asks_for_it(
        self, store: ObjectStore, damage: Damage, tmp_path: Path
    ) -> None:
        digest = store.put_bytes(b"sound")
        damage(digest, b"sOund")
        assert store.get_bytes(digest) == b"sOund"
        with pytest.raises(Corrupt, match=digest):
            store.get_bytes(digest, verify=True)
        with pytest.raises(Corrupt, match=digest):
            store.get_file(digest, tmp_path / "to", verify=True)
        assert not list(tmp_path.glob("*to*"))

    @needs("presigned")
    def test_a_presigned_url_gives_the_content_and_no_other(self, store: ObjectStore) -> None:
        digest, other = store.put_bytes(b"signed"), store.put_bytes(b"other")
        url = store.presigned(digest, expires_s=60)
        with urllib.request.urlopen(url, timeout=30) as reply:
            assert reply.read() == b"signed"
        assert digest.removeprefix("sha256:")[2:] in url and other.removeprefix("sha256:")[2:] not in url

    @needs("repair")
    def test_storing_the_same_bytes_again_repairs_damage(
        self, store: ObjectStore, damage: Damage, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_bytes(b"sound")
        digest = store.put_bytes(b"sound")
        for wrong in (b"sOund", b"so"):
            damage(digest, wrong)
            assert store.put_bytes(b"sound") == digest
            assert store.get_bytes(digest) == b"sound"
            damage(digest, wrong)
            assert store.put_file(tmp_path / "file") == digest
            assert store.get_bytes(digest) == b"sound"


class TreeSuite:
    """The rules of trees, which every object store keeps."""

    def test_a_tree_comes_back_as_it_was_put(self, store: ObjectStore, tmp_path: Path) -> None:
        folder = _folder(tmp_path / "from", {"a.txt": b"a", "deep/er/b.bin": b"\x00b", "deep/empty": b""})
        digest = put_tree(store, folder)
        get_tree(store, digest, tmp_path / "to" / "here")
        assert _contents(tmp_path / "to" / "here") == _contents(folder)
        assert [entry.path for entry in tree_entries(store, digest)] == ["a.txt", "deep/empty", "deep/er/b.bin"]
        assert [path.name for path in (tmp_path / "to").iterdir()] == ["here"]

    def test_a_damaged_file_of_a_tree_is_not_handed_out(
        self, store: ObjectStore, damage: Damage, tmp_path: Path
    ) -> None:
        tree = put_tree(store, _folder(tmp_path / "from", {"weights": b"1.0"}))
        damage(tree_entries(store, tree)[0].digest, b"9.0")
        with pytest.raises(Corrupt):
            get_tree(store, tree, tmp_path / "to")
        assert [path.name for path in tmp_path.iterdir()] == ["from"]


def _folder(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def _contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
