"""Homes of `mainspring up --testing`: claimed while they are empty, because one request empties them again."""

from __future__ import annotations

import contextlib
from pathlib import Path

from mainspring.core.errors import Conflict, InvalidRequest
from mainspring.core.settings import Settings
from mainspring.core.urls import without_secrets

BIN = "emptied"
"""The folder of a home where what was removed waits for its end."""
_MARK = "testing"
_NO_DATA = {"run", "logs", _MARK, BIN}
"""What a home may hold before it is claimed: the lock of the supervisor that claims it, and logs."""
_IN_HOME = ("objects_url", "tables_url", "kv_url")


def claim(settings: Settings) -> None:
    """Mark the home as one that may be emptied.

    Raises Conflict when it, or the database of the settings, holds data that no testing platform put there, and
    InvalidRequest when the settings keep data anywhere else.
    """
    elsewhere = [name for name in _IN_HOME if getattr(settings, name)]
    if elsewhere:
        raise InvalidRequest(
            f"a testing platform keeps its data in its home, and {', '.join(elsewhere)} says otherwise: leave it empty"
        )
    home = Path(settings.home)
    home.mkdir(parents=True, exist_ok=True)
    if is_claimed(settings):
        return
    held = sorted(path.name for path in home.iterdir() if path.name not in _NO_DATA)
    if held:
        raise Conflict(
            f"the home {home} holds data ({', '.join(held[:3])}), which --testing would let anybody delete: give it a "
            "home of its own with --home"
        )
    if settings.database_url:
        # Only here: the supervisor starts quicker without what databases need.
        from mainspring.storage.sql.database import open_database

        database = open_database(settings.database_url)
        try:
            if database.tables():
                raise Conflict(f"the database {database.url} holds data: give --testing an empty one")
        finally:
            database.close()
    (home / _MARK).write_text(_claimed_for(settings), "utf-8")


def unclaim(home: Path) -> None:
    """Take the mark away: what a platform that is not for testing puts there is data."""
    with contextlib.suppress(FileNotFoundError):
        (home / _MARK).unlink()


def is_claimed(settings: Settings) -> bool:
    """Tell whether the home, with this database, may be emptied."""
    with contextlib.suppress(FileNotFoundError):
        return (Path(settings.home) / _MARK).read_text("utf-8") == _claimed_for(settings)
    return False


def _claimed_for(settings: Settings) -> str:
    return f"emptied by POST /testing/reset together with {without_secrets(settings.database_url) or 'its database'}\n"
