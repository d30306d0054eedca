"""Every object store that ships passes the suite, against the real thing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from obstore.store import S3Store

from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.storage.locations import Bucket, folder_of, url_of
from mainspring.storage.objects.store import ObjectStore, objects, open_objects
from mainspring.testing.objects import Damage, ObjectStoreSuite, TreeSuite


class TestObjectStores(ObjectStoreSuite, TreeSuite):
    @pytest.fixture(params=objects.names())
    def url(self, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
        if request.param == "s3":
            return str(request.getfixturevalue("s3_url")).replace("/?", "/some/prefix?")
        assert request.param == "file"
        return url_of("file", tmp_path_factory.mktemp("store") / "some %41 #1?")

    @pytest.fixture
    def store(self, url: str) -> Iterator[ObjectStore]:
        return open_objects(url)

    @pytest.fixture
    def damage(self, url: str) -> Damage:
        def damage(digest: str, data: bytes) -> None:
            name = digest.removeprefix("sha256:")
            key = f"sha256/{name[:2]}/{name[2:]}"
            if url.startswith("file:"):
                path = folder_of(url) / key
                path.chmod(0o644)
                path.write_bytes(data)
                return
            bucket = Bucket.parse(url)
            S3Store(
                bucket.name,
                endpoint=bucket.endpoint,
                region="us-east-1",
                access_key_id="testing",
                secret_access_key="testing",
                client_options={"allow_http": True},
            ).put(f"{bucket.prefix}/{key}", data)

        return damage


@pytest.mark.parametrize(
    "url", ["/a/folder", "file://host/folder", "s3:///no-bucket", "s3://bucket?endpoin=typo", "file:///a?b"]
)
def test_a_malformed_url_is_refused_with_what_to_write(url: str) -> None:
    with pytest.raises(InvalidRequest):
        open_objects(url)


def test_an_unknown_scheme_names_those_that_are_known() -> None:
    with pytest.raises(NotFound, match="known: file, s3"):
        open_objects("ftp://host/folder")
