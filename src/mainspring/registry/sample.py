"""A sample of rows that travels with a model: what it was asked and what it answered when it was made.

It is read where a model has to be run without traffic: to prove an export, to measure latency, to warm up.
"""

from __future__ import annotations

from typing import Any

import msgspec

from mainspring.core.errors import InvalidData

SAMPLE_FILE = "sample.json"


class Sample(msgspec.Struct, frozen=True):
    """Rows as columns, and the answers to them by output name; dates are milliseconds, a missing value is null."""

    columns: dict[str, list[Any]]
    expected: dict[str, list[Any]] = {}

    @property
    def rows(self) -> int:
        """Give the number of rows."""
        return len(next(iter(self.columns.values()), []))

    def first(self, rows: int) -> list[dict[str, Any]]:
        """Give the first rows, each by column name."""
        return [{name: values[row] for name, values in self.columns.items()} for row in range(min(rows, self.rows))]


def encode_sample(sample: Sample) -> bytes:
    """Give the bytes of ``sample.json``."""
    return msgspec.json.encode(sample)


def decode_sample(data: bytes) -> Sample:
    """Read the bytes of ``sample.json``; raises InvalidData when they are malformed."""
    try:
        return msgspec.json.decode(data, type=Sample)
    except msgspec.DecodeError as error:
        raise InvalidData(f"{SAMPLE_FILE} of the model is malformed: {error}; register the model again") from None
