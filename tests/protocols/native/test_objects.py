"""Object bytes travel whole over HTTP, streamed, and are refused when they are too many or not what was sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from openapi_spec_validator import validate
from starlette.testclient import TestClient

from mainspring.client.objects import RemoteObjects
from mainspring.core.errors import InvalidData, InvalidRequest, NotFound, TooLarge, Unsupported
from mainspring.protocols.native.app import application
from mainspring.protocols.native.objects import object_routes
from mainspring.runtime.threads import Threads
from mainspring.runtime.uploads import Uploads
from mainspring.storage.objects.digests import digest_of
from mainspring.storage.objects.store import ObjectStore, open_objects
from mainspring.storage.objects.tree import get_tree, put_tree

LIMIT = 3 << 20


@pytest.fixture
def near(tmp_path: Path) -> ObjectStore:
    return open_objects(f"file://{tmp_path / 'objects'}")


@pytest.fixture
def http(near: ObjectStore, tmp_path: Path) -> Iterator[TestClient]:
    threads = Threads(4)
    uploads = Uploads(near, threads, tmp_path / "uploads", LIMIT)
    app = application([], threads, max_body_bytes=1000, extra=object_routes(uploads))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client
    threads.close()


@pytest.fixture
def far(http: TestClient) -> RemoteObjects:
    return RemoteObjects(http)


def test_what_is_put_from_afar_is_the_same_object_near(far: RemoteObjects, near: ObjectStore, tmp_path: Path) -> None:
    data = bytes(range(256)) * 8192
    (tmp_path / "file").write_bytes(data)
    digest = far.put_bytes(data)
    assert digest == far.put_file(tmp_path / "file") == digest_of(data)
    assert near.get_bytes(digest) == far.get_bytes(digest, verify=True) == data
    assert far.size(digest) == len(data)
    far.get_file(digest, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == far.open_object(digest).read() == data


def test_a_folder_is_stored_from_afar_as_it_would_be_near(
    far: RemoteObjects, near: ObjectStore, tmp_path: Path
) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "a.txt").write_text("a")
    digest = put_tree(far, tmp_path / "in")
    assert digest == put_tree(near, tmp_path / "in")
    get_tree(far, digest, tmp_path / "out")
    assert (tmp_path / "out" / "deep" / "a.txt").read_text() == "a"


def test_an_object_that_is_not_there_is_not_found(far: RemoteObjects) -> None:
    missing = digest_of(b"never stored")
    with pytest.raises(NotFound):
        far.get_bytes(missing)
    assert not far.exists(missing)


def test_a_path_in_place_of_a_digest_is_refused(far: RemoteObjects) -> None:
    with pytest.raises(InvalidRequest):
        far.get_bytes("..passwd")
    with pytest.raises(NotFound):
        far.get_bytes("..%2F..%2Fetc%2Fpasswd")


def test_an_object_over_the_limit_is_refused_and_nothing_is_kept(far: RemoteObjects, near: ObjectStore) -> None:
    with pytest.raises(TooLarge, match="max_upload_bytes"):
        far.put_bytes(b"x" * (LIMIT + 1))
    assert list(near.list()) == []


def test_bytes_that_changed_on_the_way_are_refused(http: TestClient) -> None:
    reply = http.post("/objects", content=b"other", headers={"x-mainspring-digest": digest_of(b"sent")})
    assert (reply.status_code, reply.json()["error"]["code"]) == (InvalidData.status, "invalid_data")


def test_administration_stays_with_the_owner_of_the_store(far: RemoteObjects) -> None:
    with pytest.raises(Unsupported):
        far.delete(digest_of(b""))
    with pytest.raises(Unsupported):
        far.list()


def test_the_document_has_the_routes_that_are_written_by_hand(http: TestClient) -> None:
    document = http.get("/openapi.json").json()
    validate(document)
    assert {path: set(methods) for path, methods in document["paths"].items()} == {
        "/health": {"get"},
        "/objects": {"post"},
        "/objects/{digest}": {"get", "head"},
    }
