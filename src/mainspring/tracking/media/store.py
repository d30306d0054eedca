"""The table of media, and the SQL that lists it."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import BigInteger, Column, Connection, ForeignKey, Integer, Table, Text, func, select, tuple_

from mainspring.storage.sql.schema import Packed, metadata, upsert
from mainspring.tracking import paging
from mainspring.tracking.media.model import Fact, MediaItem, MediaKey, MediaPage

run_media = Table(
    "run_media",
    metadata,
    Column("run", Text, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("step", BigInteger, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("path", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("digest", Text, nullable=False, index=True),
    Column("size", BigInteger, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("caption", Text),
    Column("shape", Packed(list[int]), nullable=False),
    Column("facts", Packed(dict[str, Fact]), nullable=False),
    sqlite_with_rowid=False,
)
_KEYS = ["run", "key", "step", "number", "path"]


def put(connection: Connection, run: str, items: Sequence[MediaItem]) -> None:
    """Note media; those that are noted already change nothing."""
    rows = [{"run": run, **{name: getattr(item, name) for name in MediaItem.__struct_fields__}} for item in items]
    upsert(connection, run_media, rows, keys=_KEYS, update=[])


def find(
    connection: Connection, run: str, *, key: str | None, kind: str | None, limit: int, page: str | None
) -> MediaPage:
    """List media of a run."""
    table = run_media.c
    query = select(*(table[name] for name in MediaItem.__struct_fields__)).where(table.run == run)
    if key is not None:
        query = query.where(table.key == key)
    if kind is not None:
        query = query.where(table.kind == kind)
    place = tuple_(table.key, table.step, table.number, table.path)
    if page is not None:
        query = query.where(place > paging.decode(page, tuple[str, int, int, str]))
    query = query.order_by(table.key, table.step, table.number, table.path).limit(limit + 1)
    found = [MediaItem(**row._mapping) for row in connection.execute(query)]
    last = found[limit - 1] if len(found) > limit else None
    token = None if last is None else paging.encode((last.key, last.step, last.number, last.path))
    return MediaPage(found[:limit], token)


def keys(connection: Connection, run: str) -> list[MediaKey]:
    """List the keys of a run; of one with several kinds, the last by name counts."""
    table = run_media.c
    query = select(table.key, func.max(table.kind), func.count(), func.min(table.step), func.max(table.step))
    found = connection.execute(query.where(table.run == run).group_by(table.key).order_by(table.key))
    return [MediaKey(*row) for row in found]
