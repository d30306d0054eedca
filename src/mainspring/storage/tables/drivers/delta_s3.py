"""Delta Lake tables in an S3 bucket, or in anything that speaks its protocol."""

from __future__ import annotations

from typing import Self

from obstore.exceptions import BaseError

from mainspring.core.errors import Unavailable
from mainspring.storage.buckets import bucket_store
from mainspring.storage.locations import Bucket
from mainspring.storage.tables.drivers.delta import DeltaTables


class DeltaBucket(DeltaTables):
    """Tables in an S3 bucket; writers are told apart by conditional puts, so the endpoint must know If-None-Match."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        given = {
            "AWS_ENDPOINT_URL": bucket.endpoint,
            "AWS_REGION": bucket.region,
            "AWS_ACCESS_KEY_ID": bucket.access_key_id,
            "AWS_SECRET_ACCESS_KEY": bucket.secret_access_key,
            "AWS_SESSION_TOKEN": bucket.session_token,
            "AWS_ALLOW_HTTP": "true" if bucket.plain_http else None,
            "AWS_CONDITIONAL_PUT": "etag",
        }
        options = {name: value for name, value in given.items() if value is not None}
        super().__init__(f"s3://{bucket.name}/{bucket.prefix}", options)

    @classmethod
    def open(cls, url: str) -> Self:
        """Open the store at ``s3://bucket/prefix?endpoint=...``; the bucket must exist."""
        return cls(Bucket.parse(url))

    def delete(self, name: str) -> None:
        """Remove the table with all its versions."""
        self.place(name)
        store = bucket_store(self._bucket)
        try:
            # Without its log the table is gone, whatever happens to the rest of the removal.
            for part in (f"{name}/_delta_log/", f"{name}/"):
                for page in store.list(part):
                    store.delete([found["path"] for found in page])
        except (BaseError, OSError) as error:
            raise Unavailable(f"the bucket of table {name} does not answer: {error}", name=name) from error
