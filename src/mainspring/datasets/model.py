"""What a dataset is: a name with immutable versions, each a table with its schema, its content hash and its report."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from mainspring.core.refs import ref
from mainspring.datasets.expectations import Expectation

Format = Literal["auto", "csv", "parquet", "arrow"]
Mode = Literal["replace", "append"]
Status = Literal["accepted", "quarantined"]


class Column(msgspec.Struct, frozen=True):
    """A column and the name of its type: ``int64``, ``float64``, ``string``, ``boolean``, ``date``, ``datetime``..."""

    name: str
    type: str


class ReadOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a file is to be read where guessing is not wanted; everything has a default that looks at the file.

    ``types`` says the type of single columns. ``null_values`` are the words that mean *missing* everywhere, instead of
    the usual ones in columns of numbers and dates. ``on_bad_rows="skip"`` leaves broken rows out and counts them.
    """

    delimiter: str | None = None
    encoding: str | None = None
    header: bool = True
    on_bad_rows: Literal["refuse", "skip"] = "refuse"
    null_values: list[str] | None = None
    day_first: bool | None = None
    types: dict[str, str] = {}


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What reading a file found: its form, the rows left out (with the first lines of them), and warnings."""

    format: str
    encoding: str | None = None
    delimiter: str | None = None
    rows: int = 0
    bad_rows: int = 0
    bad_lines: list[int] = []
    null_markers: list[str] = []
    warnings: list[str] = []


class DatasetVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One immutable version: a table, and how it came to be.

    ``content`` is the hash of the rows in their order (see `mainspring.datasets.content`). ``table`` and
    ``table_version`` say where the rows are. A quarantined version failed its checks and is never the latest.
    """

    dataset: str
    version: int
    status: Status
    mode: Mode
    parent: int | None
    rows: int
    columns: list[Column]
    content: str
    table: str
    table_version: int
    created: datetime
    source: str | None
    key: list[str]
    time_column: str | None
    expectations: list[Expectation]
    report: str | None
    imported: ImportReport

    @property
    def ref(self) -> str:
        """Give ``dataset:name@version``."""
        return ref("dataset", self.dataset, self.version)

    @property
    def types(self) -> dict[str, str]:
        """Give the type of each column by its name."""
        return {column.name: column.type for column in self.columns}


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset as it stands: its latest accepted version (None while there is none), and what its rows mean."""

    name: str
    latest: int | None
    versions: int
    quarantined: int
    rows: int
    created: datetime
    updated: datetime


class Page(msgspec.Struct, frozen=True):
    """Some rows of a version, from row *offset* (0-based), as plain values in the order of *columns*."""

    dataset: str
    columns: list[Column]
    offset: int
    total: int
    rows: list[list[Any]]
