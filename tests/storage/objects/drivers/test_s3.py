"""What only the S3 driver can get wrong."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest

from mainspring.core.errors import Conflict, Unavailable
from mainspring.storage.objects.digests import digest_of
from mainspring.storage.objects.drivers import s3
from mainspring.storage.objects.drivers.s3 import MULTIPART_BYTES, S3Objects


def test_a_missing_bucket_is_unavailable_not_a_missing_object(s3_url: str) -> None:
    store = S3Objects.open(s3_url.replace("s3://bucket", "s3://nobody-made-this-bucket"))
    with pytest.raises(Unavailable, match="nobody-made-this-bucket"):
        store.put_bytes(b"x")
    with pytest.raises(Unavailable, match="nobody-made-this-bucket"):
        store.get_bytes(digest_of(b"x"))


def test_a_large_file_that_changes_while_it_is_stored_is_refused_and_not_kept(
    s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = S3Objects.open(s3_url)
    path = tmp_path / "growing"
    path.write_bytes(b"a" * (MULTIPART_BYTES + 1))

    def has_after_a_change(digest: str, size: int) -> bool:
        path.write_bytes(b"b" * (MULTIPART_BYTES + 1))
        return False

    monkeypatch.setattr(store, "_has", has_after_a_change)
    with pytest.raises(Conflict, match="changed while it was stored"):
        store.put_file(path)
    assert list(store.list()) == []


def test_what_is_old_becomes_young_when_it_is_stored_again_or_renewed(
    s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "YOUNG", timedelta(0))
    store = S3Objects.open(s3_url)
    (tmp_path / "file").write_bytes(b"x")
    digest = store.put_bytes(b"x")
    for again in (
        lambda: store.put_bytes(b"x"),
        lambda: store.put_file(tmp_path / "file"),
        lambda: store.renew(digest),
    ):
        (before,) = store.stored()
        time.sleep(1.1)  # What the protocol tells has whole seconds.
        again()
        (after,) = store.stored()
        assert after.renewed > before.renewed
        assert store.get_bytes(digest, verify=True) == b"x"
