"""The content hash of rows: the same values in the same order give the same hash, however they are laid out on disk."""

from __future__ import annotations

import hashlib

import msgspec
import numpy as np
import polars as pl

from mainspring.datasets.columns import type_name

_FORMAT = b"mainspring rows 1\n"


def content_hash(frame: pl.DataFrame) -> str:
    """Give ``sha256:<hex>`` of a canonical frame.

    Hashed are a format line, the names and types as JSON, the number of rows, and column by column the SHA-256 of: the
    bits of which values are present (first row lowest), then the values, missing ones as zero. Numbers, dates (days
    since 1970) and instants (microseconds since 1970 UTC) are little-endian; text and bytes are all lengths (64 bits)
    and then all bytes. Row groups, chunks, compression and the version of any library have no part in it.
    """
    schema = [[name, type_name(dtype)] for name, dtype in frame.schema.items()]
    digest = hashlib.sha256(_FORMAT + msgspec.json.encode([schema, frame.height]))
    for series in frame.get_columns():
        digest.update(_column_digest(series))
    return f"sha256:{digest.hexdigest()}"


def chained_hash(parent: str, appended: str) -> str:
    """Give the content hash of a version that adds rows to another: a hash of both hashes, in order."""
    return f"sha256:{hashlib.sha256(f'{parent}+{appended}'.encode()).hexdigest()}"


def _column_digest(series: pl.Series) -> bytes:
    present = series.is_not_null().to_numpy()
    digest = hashlib.sha256(np.packbits(present, bitorder="little").tobytes())
    dtype = series.dtype
    if dtype.is_nested() or dtype.is_decimal():
        digest.update(msgspec.json.encode(series.to_list(), enc_hook=str))
        return digest.digest()
    if dtype == pl.String or dtype == pl.Binary:
        lengths = series.str.len_bytes() if dtype == pl.String else series.bin.size()
        digest.update(lengths.fill_null(0).cast(pl.UInt64).to_numpy().astype("<u8", copy=False).tobytes())
        digest.update(_joined(series))
        return digest.digest()
    if dtype == pl.Boolean:
        digest.update(np.packbits(series.fill_null(False).to_numpy(), bitorder="little").tobytes())
        return digest.digest()
    values = series.to_physical().fill_null(0).to_numpy()
    digest.update(np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.digest()


def _joined(series: pl.Series) -> bytes:
    if series.dtype == pl.Binary:
        return b"".join(series.drop_nulls().to_list())
    return "".join(series.drop_nulls().to_list()).encode()
