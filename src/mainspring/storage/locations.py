"""Where a store is: the parts of a ``file:///folder`` or ``s3://bucket/prefix?endpoint=...`` URL."""

from __future__ import annotations

from pathlib import Path
from typing import Self
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.core.urls import without_secrets


def scheme_of(url: str, expected: str) -> str:
    """Give the scheme of a URL, which is the name of the driver; raises InvalidRequest, with what is *expected*."""
    scheme, colon, _ = url.partition("://")
    if not colon or not scheme:
        raise InvalidRequest(f"{without_secrets(url)!r} is not a store's URL: expected {expected}")
    return scheme


def url_of(scheme: str, folder: Path) -> str:
    """Give the URL that `folder_of` reads as this absolute folder."""
    return f"{scheme}://{quote(str(folder))}"


def folder_of(url: str) -> Path:
    """Give the absolute folder that a URL without a host names (``file:///folder``)."""
    parts = urlsplit(url)
    if parts.netloc or not parts.path.startswith("/"):
        raise InvalidRequest(f"{url!r} names no absolute folder: write {parts.scheme}:///folder", url=url)
    if parts.query or parts.fragment:
        raise InvalidRequest(f"{url!r} takes no options: write ? as %3F and # as %23 where the folder has one", url=url)
    return Path(unquote(parts.path))


class Bucket(msgspec.Struct, frozen=True):
    """A prefix in an S3 bucket, and how to reach it; what is None is left to the AWS environment of the process."""

    name: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None
    session_token: str | None = None

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read ``s3://bucket/prefix?endpoint=&region=&access_key_id=&secret_access_key=&session_token=``.

        Raises InvalidRequest for a missing bucket or an unknown option.
        """
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        known = [name for name in cls.__struct_fields__ if name not in ("name", "prefix")]
        if unknown := sorted(options.keys() - set(known)):
            raise InvalidRequest(f"an s3:// URL has no option {unknown[0]!r}; known: {', '.join(known)}")
        if not parts.netloc:
            raise InvalidRequest("an s3:// URL names a bucket: write s3://bucket/prefix")
        return cls(parts.netloc, unquote(parts.path).strip("/"), **options)

    @property
    def plain_http(self) -> bool:
        """Whether the endpoint is spoken to without TLS."""
        return self.endpoint is not None and self.endpoint.startswith("http://")
