"""Finds the objects that nothing refers to, and discards those that are old enough."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec

from mainspring.core.errors import Corrupt, NotFound
from mainspring.retention.model import Wanted
from mainspring.retention.objects import store
from mainspring.storage.objects.store import ObjectStore, StoredObject
from mainspring.storage.objects.tree import FORMAT, tree_entries
from mainspring.storage.sql.database import Database

_TREE = msgspec.json.encode({"format": FORMAT})[:-1]
_MAX_TREE_BYTES = 16 << 20
_AT_ONCE = 200


def unreferred(
    database: Database, objects: ObjectStore, before: datetime, without: Wanted | None = None
) -> list[StoredObject]:
    """List the objects that nothing refers to and that nobody stored or renewed since *before*.

    What is younger may be on its way: a client stores an object before it says whose it is. *without* takes the
    references away that a collection would take.
    """
    there = {found.digest: found for found in objects.stored()}
    trees: set[str] = set()
    used: set[str] = set()
    for table in store.tables():
        with database.read() as connection:
            digests = set(store.digests_in(connection, table, without)) & there.keys()
        used |= digests
        if not store.holds_files(table):
            trees |= digests
    trees |= {digest for digest, found in there.items() if digest not in used and found.renewed >= before}
    for digest in trees:
        used |= _entries(objects, there[digest])
    return [found for digest, found in there.items() if digest not in used and found.renewed < before]


def discard(
    database: Database, objects: ObjectStore, found: list[StoredObject], before: datetime
) -> Iterator[tuple[int, int]]:
    """Discard objects, some at a time; gives how many went and how many bytes they had.

    Who refers to an object renews it first, so one to which anything was made to refer meanwhile is not discarded.
    """
    for start in range(0, len(found), _AT_ONCE):
        some = found[start : start + _AT_ONCE]
        with database.read() as connection:
            again = store.named_again(connection, [one.digest for one in some])
        gone = [one for one in some if one.digest not in again and objects.discard(one.digest, before=before)]
        yield len(gone), sum(one.size for one in gone)


def _entries(objects: ObjectStore, found: StoredObject) -> set[str]:
    if not len(_TREE) < found.size <= _MAX_TREE_BYTES:
        return set()
    try:
        with objects.open_object(found.digest) as file:
            if file.read(len(_TREE)) != _TREE:
                return set()
        return {entry.digest for entry in tree_entries(objects, found.digest)}
    except (Corrupt, NotFound):  # No tree after all, or gone meanwhile.
        return set()
