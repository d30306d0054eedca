"""A table store: named tables of frames, every write a version, nothing lost and nothing half-written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import ClassVar, Protocol, Self

import msgspec
import polars as pl

from mainspring.core.plugins import Registry
from mainspring.storage.locations import scheme_of

Transaction = tuple[str, int]
"""Who writes, and a number that only grows: what has been committed under a number is never written again."""


class Commit(msgspec.Struct, frozen=True):
    """One version of a table: when and how it came to be; *rows* added, where the writer has said."""

    version: int
    at: datetime
    operation: str
    rows: int | None


class TableStore(Protocol):
    """Tables by name; a name is a path such as ``datasets/trips``. Versions count up from 0.

    Writers, also of other processes, may race: every append survives, an overwrite replaces what it found. A write is
    durable once it has returned. Columns hold numbers, booleans, text, bytes, dates, UTC or naive timestamps in
    microseconds, decimals, lists and structs; categories become text, unsigned integers the next larger signed ones.

    Raises NotFound for a table or version that is not there, InvalidRequest for a malformed name, InvalidData for a
    frame that does not fit, Unavailable when the store cannot be reached, Corrupt when it cannot be understood.
    """

    lacks: ClassVar[Mapping[str, str]]
    """What this driver cannot do, by capability, with the reason."""

    @classmethod
    def open(cls, url: str) -> Self: ...

    def append(self, name: str, frame: pl.DataFrame, *, transaction: Transaction | None = None) -> int:
        """Add rows, making the table if it is not there, and give the version.

        The columns must be those of the table, in any order, each of the same type (a column of only nulls fits every
        type); otherwise InvalidData names the columns that do not fit. With a transaction ``(writer, n)`` of which n,
        or a later one, is committed already, nothing is written and the current version is given.
        """
        ...

    def overwrite(self, name: str, frame: pl.DataFrame, *, transaction: Transaction | None = None) -> int:
        """Replace rows and columns and give the version; older versions stay readable. *transaction* as in `append`."""
        ...

    def committed(self, name: str, writer: str) -> int | None:
        """Give the last transaction number that this writer committed; None when there is none, or no table."""
        ...

    def read(self, name: str, version: int | None = None, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Give the rows of a version, by default the last; those of one append keep their order."""
        ...

    def scan(self, name: str, version: int | None = None) -> pl.LazyFrame:
        """Give a version lazily: filters and column choices reach the files. Its errors come when it is collected."""
        ...

    def version(self, name: str) -> int: ...

    def schema(self, name: str, version: int | None = None) -> pl.Schema: ...

    def history(self, name: str) -> list[Commit]:
        """List the versions, the newest first."""
        ...

    def exists(self, name: str) -> bool: ...

    def delete(self, name: str) -> None:
        """Remove the table with all its versions; one that is not there is no error."""
        ...

    def compact(self, name: str) -> int:
        """Join small files into larger ones and give the version; rows and older versions stay as they are."""
        ...

    def vacuum(self, name: str, *, older_than: timedelta, keep: Iterable[int] = ()) -> int:
        """Delete files that only versions older than this need, except for the versions to *keep*; give their number.

        Those older versions cannot be read any more. Readers and writers that take longer than *older_than* would lose
        files under their hands.
        """
        ...


tables: Registry[type[TableStore]] = Registry(
    "tables",
    file="mainspring.storage.tables.drivers.delta:DeltaFolder",
    s3="mainspring.storage.tables.drivers.delta_s3:DeltaBucket",
)


def open_tables(url: str) -> TableStore:
    """Open the store at ``file:///folder`` or ``s3://bucket/prefix`` (options: `storage.locations.Bucket.parse`)."""
    return tables.load(scheme_of(url, "file:///folder or s3://bucket/prefix")).open(url)
