"""An S3 client for a bucket, as every driver on S3 opens it; needs the extra ``s3``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from obstore.store import S3Store

from mainspring.storage.locations import Bucket


def bucket_store(bucket: Bucket) -> S3Store:
    """Open the prefix of the bucket; what its URL does not say comes from the AWS environment of the process."""
    names = ("endpoint", "region", "access_key_id", "secret_access_key", "session_token")
    given: dict[str, Any] = {name: value for name in names if (value := getattr(bucket, name)) is not None}
    return S3Store(
        bucket.name,
        prefix=bucket.prefix or None,
        client_options={"allow_http": bucket.plain_http, "timeout": "60s"},
        retry_config={"max_retries": 4, "retry_timeout": timedelta(seconds=30)},
        **given,
    )
