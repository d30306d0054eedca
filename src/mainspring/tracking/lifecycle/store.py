"""The SQL of runs that are changed, deleted and restored."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, update

from mainspring.storage.sql.statements import Statement
from mainspring.tracking.model import GONE, RunStatus
from mainspring.tracking.store import runs

_EXISTS = Statement("SELECT id FROM runs WHERE id = ?")


def run_exists(connection: Connection, run: str) -> bool:
    """Tell whether there is a run with this id."""
    return _EXISTS.first(connection, (run,)) is not None


def change(
    connection: Connection, run: str, *, name: str | None, status: RunStatus | None, ended: datetime | None
) -> None:
    """Change what is given; a run that goes on has not ended."""
    values: dict[str, Any] = {}
    if status is not None:
        values["status"] = status
        if status in ("running", "scheduled"):
            values["ended"] = None
    if ended is not None:
        values["ended"] = ended
    if name is not None:
        values["name"] = name
    if values:
        connection.execute(update(runs).where(runs.c.id == run).values(**values))


def set_deleted(connection: Connection, run: str, deleted: datetime | None) -> bool:
    """Set when a run was deleted, None for never, and tell whether that changed anything."""
    other = runs.c.deleted.is_(None) if deleted is not None else runs.c.deleted != GONE
    return connection.execute(update(runs).where(runs.c.id == run, other).values(deleted=deleted)).rowcount > 0
