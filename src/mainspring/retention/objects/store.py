"""The SQL that finds every object which anything refers to, whichever room keeps the reference.

A digest counts wherever it stands in a text: a room that is built tomorrow need not register anything here, and what
only looks like a reference keeps an object that could have gone. Never the other way round.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Table, Text, TypeDecorator, or_, select, type_coerce

from mainspring.registry.store import model_versions
from mainspring.retention.model import Wanted
from mainspring.retention.records.store import kept_of
from mainspring.storage.sql.matching import position
from mainspring.storage.sql.schema import metadata
from mainspring.tracking.files.store import artifact_files
from mainspring.tracking.store import run_artifacts

_FILES = (run_artifacts, artifact_files)
"""Names of files: what they point to are the bytes of a file, never a tree."""
_JOURNAL = ("events", "lineage", "event_refs")
"""What happened is told for ever, also of objects that are gone."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ROWS = 2_000


def tables() -> list[Table]:
    """Give the tables that may refer to objects: files first, because what is copied is copied from there."""
    others = [table for table in metadata.sorted_tables if table not in _FILES and table.name not in _JOURNAL]
    return [*_FILES, *others]


def holds_files(table: Table) -> bool:
    """Tell whether the digests of a table are those of files."""
    return table in _FILES


def digests_in(connection: Connection, table: Table, without: Wanted | None) -> Iterator[str]:
    """Give the digests that stand in a table, also several times; *without* leaves out what a collection would take."""
    columns: list[Any] = [
        type_coerce(column, Text) for column in table.columns if _is_text(column.type) and not column.foreign_keys
    ]
    if not columns:
        return
    dialect = connection.dialect.name
    query = select(*columns).where(or_(*(position(column, "sha256:", dialect) > 0 for column in columns)))
    if without is not None and (kept := kept_of(table, without)) is not None:
        query = query.where(kept)
    for row in connection.execution_options(yield_per=_ROWS).execute(query):
        for text in row:
            if text is not None:
                yield from _DIGEST.findall(text)


def named_again(connection: Connection, digests: Sequence[str]) -> set[str]:
    """Tell which of these are referred to where references are made all the time."""
    found: set[str] = set()
    for table in (*_FILES, model_versions):
        found |= set(connection.execute(select(table.c.digest).where(table.c.digest.in_(digests))).scalars())
    return found


def _is_text(kind: Any) -> bool:
    return isinstance(kind.impl if isinstance(kind, TypeDecorator) else kind, Text)
