"""Delta Lake tables, written by delta-rs and read by Polars; here in a local folder."""

from __future__ import annotations

import contextlib
import random
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal, Self
from urllib.parse import unquote

import msgspec
import polars as pl
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake import Transaction as AppTransaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from mainspring.core.errors import Conflict, Corrupt, InvalidRequest, NotFound, Unavailable
from mainspring.storage.durable import flush_path
from mainspring.storage.locations import folder_of
from mainspring.storage.tables.frames import fitting, new_table, storable
from mainspring.storage.tables.store import Commit, Transaction

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_MISREAD = re.compile(r"[#?^|\\\[\]]|%[0-9A-Fa-f]{2}")
_ATTEMPTS = 30
# Old versions are the truth of training runs: only `vacuum` may end them, not the cleaning of old log entries.
_CONFIGURATION = {"delta.enableExpiredLogCleanup": "false"}


class DeltaTables:
    """What the folder and the bucket share: only where the tables are differs."""

    lacks: ClassVar[Mapping[str, str]] = {}
    _opened: ClassVar[type[DeltaTable]] = DeltaTable

    def __init__(self, root: str, options: dict[str, str]) -> None:
        self._root = root.rstrip("/")
        self._options = options

    def append(self, name: str, frame: pl.DataFrame, *, transaction: Transaction | None = None) -> int:
        """Add rows, making the table if it is not there, and give the version."""
        return self._write(name, storable(frame), "append", transaction)

    def overwrite(self, name: str, frame: pl.DataFrame, *, transaction: Transaction | None = None) -> int:
        """Replace rows and columns and give the version."""
        return self._write(name, new_table(storable(frame)), "overwrite", transaction)

    def committed(self, name: str, writer: str) -> int | None:
        """Give the last transaction number that this writer committed."""
        table = self._find(name)
        return None if table is None else table.transaction_version(writer)

    def read(self, name: str, version: int | None = None, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Give the rows of a version, by default the last."""
        table = self._load(name, version)
        with understanding(name):
            frame = self._scan(table)
            try:
                return (frame if columns is None else frame.select(columns)).collect()
            except pl.exceptions.ColumnNotFoundError:
                wanted = [column for column in columns or () if column not in frame.collect_schema()]
                raise InvalidRequest(f"table {name} has no column {', '.join(wanted)}", columns=wanted) from None
            except FileNotFoundError as error:
                message = f"table {name}: files of version {table.version()} were deleted by a vacuum"
                raise NotFound(message, name=name, version=table.version()) from error

    def scan(self, name: str, version: int | None = None) -> pl.LazyFrame:
        """Give a version lazily."""
        return self._scan(self._load(name, version))

    def version(self, name: str) -> int:
        """Give the last version."""
        return self._load(name).version()

    def schema(self, name: str, version: int | None = None) -> pl.Schema:
        """Give the columns of a version and their types."""
        return self._scan(self._load(name, version)).collect_schema()

    def history(self, name: str) -> list[Commit]:
        """List the versions, the newest first."""
        with understanding(name):
            return [_commit(entry) for entry in self._load(name).history()]

    def exists(self, name: str) -> bool:
        """Tell whether the table is there."""
        return self._find(name) is not None

    def compact(self, name: str) -> int:
        """Join small files into larger ones and give the version."""
        for attempt in range(_ATTEMPTS):
            table = self._load(name)
            with understanding(name), _racing(attempt):
                before = table.version()
                table.optimize.compact()
                if table.version() != before:
                    self._settle(name, table.version())
                return table.version()
        raise Conflict(f"table {name} is written too often to be compacted now: try again later", name=name)

    def vacuum(self, name: str, *, older_than: timedelta, keep: Iterable[int] = ()) -> int:
        """Delete files that only older versions need and give their number."""
        table = self._load(name)
        hours = int(older_than.total_seconds() // 3600)
        with understanding(name):
            gone = table.vacuum(
                retention_hours=hours,
                dry_run=False,
                enforce_retention_duration=False,
                keep_versions=sorted({*keep, table.version()}),
            )
        return len(gone)

    def _write(
        self, name: str, frame: pl.DataFrame, mode: Literal["append", "overwrite"], transaction: Transaction | None
    ) -> int:
        transactions = [AppTransaction(*transaction)] if transaction else None
        for attempt in range(_ATTEMPTS):
            table = self._find(name)
            if table is not None and transaction and _is_committed(table, transaction):
                return table.version()
            with understanding(name), _racing(attempt):
                if table is None:
                    return self._create(name, new_table(frame), transactions)
                return self._commit(name, table, frame, mode, transactions)
        raise Conflict(f"table {name} changed under each of {_ATTEMPTS} attempts to write it: try again", name=name)

    def _create(self, name: str, frame: pl.DataFrame, transactions: list[AppTransaction] | None) -> int:
        write_deltalake(
            self.place(name),
            frame,
            mode="error",
            configuration=_CONFIGURATION,
            storage_options=self._options,
            # A retry inside delta-rs would commit version 1 on top of whoever was first, without looking at it.
            commit_properties=CommitProperties(app_transactions=transactions, max_commit_retries=0),
        )
        self._settle(name, 0)
        return 0

    def _commit(
        self,
        name: str,
        table: DeltaTable,
        frame: pl.DataFrame,
        mode: Literal["append", "overwrite"],
        transactions: list[AppTransaction] | None,
    ) -> int:
        # The commit is checked against the snapshot that *table* holds: it is refused when another writer has
        # meanwhile committed the same transaction or changed the columns, and `_write` looks again.
        if mode == "append":
            frame = fitting(frame, self._scan(table).collect_schema(), name)
        schema_mode: Literal["overwrite"] | None = "overwrite" if mode == "overwrite" else None
        properties = CommitProperties(app_transactions=transactions)
        write_deltalake(table, frame, mode=mode, schema_mode=schema_mode, commit_properties=properties)
        self._settle(name, table.version())
        return table.version()

    def place(self, name: str) -> str:
        """Give where a table is; raises InvalidRequest for a name that is no path of plain words."""
        if not _NAME.fullmatch(name):
            raise InvalidRequest(f"{name!r} is not a table's name: write words joined by slashes: datasets/trips")
        return f"{self._root}/{name}"

    def _find(self, name: str) -> DeltaTable | None:
        try:
            with understanding(name):
                return self._opened(self.place(name), storage_options=self._options)
        except NotFound:
            return None

    def _load(self, name: str, version: int | None = None) -> DeltaTable:
        table = self._find(name)
        if table is None:
            raise NotFound(f"there is no table {name}", name=name)
        if version is None or version == table.version():
            return table
        last = table.version()
        if not 0 <= version < last:
            message = f"table {name} has no version {version}: its versions are 0 to {last}"
            raise NotFound(message, name=name, version=version)
        with understanding(name):
            table.load_as_version(version)
        return table

    def _scan(self, table: DeltaTable) -> pl.LazyFrame:
        # With keys given, Polars must not look for others in the AWS environment.
        provider: Literal["auto"] | None = None if "AWS_ACCESS_KEY_ID" in self._options else "auto"
        return pl.scan_delta(table, storage_options=self._options or None, credential_provider=provider)

    def _settle(self, name: str, version: int) -> None:
        """Make a version durable; object storage has done so before it answers."""


class _LocalTable(DeltaTable):
    def file_uris(self, *filters: Any, **more: Any) -> list[str]:
        # delta-rs gives paths in which a blank is %20, and Polars opens them as they are.
        return [unquote(uri) for uri in super().file_uris(*filters, **more)]


class DeltaFolder(DeltaTables):
    """Tables in a local folder."""

    _opened = _LocalTable

    @classmethod
    def open(cls, url: str) -> Self:
        """Open the store at ``file:///folder``; the folder is made with the first table."""
        folder = str(folder_of(url))
        if misread := _MISREAD.search(folder):
            raise InvalidRequest(
                f"tables cannot be kept in {folder}: delta-rs misreads {misread[0]!r} in a path", url=url
            )
        return cls(folder, {})

    def delete(self, name: str) -> None:
        """Remove the table with all its versions."""
        folder = Path(self.place(name))
        # Without its log the folder is no table any more, whatever happens to the rest of the removal.
        for part in (folder / "_delta_log", folder):
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(part)

    def _settle(self, name: str, version: int) -> None:
        folder = Path(self.place(name))
        entry = folder / "_delta_log" / f"{version:020}.json"
        for line in entry.read_bytes().splitlines():
            if added := msgspec.json.decode(line, type=_LogLine).add:
                flush_path(folder / unquote(added.path))
        for path in (folder, entry, entry.parent):
            flush_path(path)


class _Added(msgspec.Struct):
    path: str


class _LogLine(msgspec.Struct):
    add: _Added | None = None


def _is_committed(table: DeltaTable, transaction: Transaction) -> bool:
    writer, number = transaction
    done = table.transaction_version(writer)
    return done is not None and done >= number


def _commit(entry: dict[str, Any]) -> Commit:
    rows = entry.get("operationMetrics", {}).get("num_added_rows")
    return Commit(
        version=entry["version"],
        at=datetime.fromtimestamp(entry["timestamp"] / 1000, UTC),
        operation=entry["operation"],
        rows=None if rows is None else int(rows),
    )


@contextlib.contextmanager
def _racing(attempt: int) -> Iterator[None]:
    """Let a write that lost a race pass, after a pause that grows and differs between writers."""
    try:
        yield
    except CommitFailedError:
        time.sleep(random.uniform(0, min(0.5, 0.005 * 2**attempt)))
    except DeltaError as error:
        if "already exists" not in str(error):
            raise


@contextlib.contextmanager
def understanding(name: str) -> Iterator[None]:
    """Turn the errors of delta-rs and Polars into ours."""
    try:
        yield
    except TableNotFoundError as error:
        raise NotFound(f"there is no table {name}", name=name) from error
    except (DeltaError, pl.exceptions.ComputeError) as error:
        raise Corrupt(f"table {name} cannot be understood: {error}", name=name) from error
    except OSError as error:
        raise Unavailable(f"the store of table {name} does not answer as it should: {error}", name=name) from error
