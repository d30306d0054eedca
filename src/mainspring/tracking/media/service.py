"""The verbs of media: note them, list them."""

from __future__ import annotations

from collections.abc import Sequence

from mainspring.core.errors import InvalidRequest, TooLarge
from mainspring.core.operations import operation
from mainspring.storage.sql.database import Database
from mainspring.tracking import store as runs
from mainspring.tracking.artifacts import check_path
from mainspring.tracking.limits import check_batch
from mainspring.tracking.media import store
from mainspring.tracking.media.model import MAX_CAPTION_CHARS, MAX_ITEMS, MediaItem, MediaKey, MediaKind, MediaPage
from mainspring.tracking.model import Metric
from mainspring.tracking.paging import bounded


class Media:
    """Which artifacts of a run are to be looked at or listened to, under which key and at which step."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @operation("POST /runs/{run}/media")
    def log_media(self, run: str, items: list[MediaItem]) -> None:
        """Note up to 1000 media, all or nothing; their bytes are artifacts, which were logged before.

        What is noted already changes nothing. Raises NotFound, TooLarge, InvalidRequest, and Conflict when the run is
        deleted.
        """
        _check(items)
        with runs.writing(self.database, run) as connection:
            store.put(connection, run, items)

    @operation("GET /runs/{run}/media")
    def list_media(
        self,
        run: str,
        key: str | None = None,
        kind: MediaKind | None = None,
        limit: int = 100,
        page: str | None = None,
    ) -> MediaPage:
        """List media in the order of key, step and number. Raises NotFound for an unknown run."""
        with self.database.read() as connection:
            runs.require_run(connection, run)
            return store.find(connection, run, key=key, kind=kind, limit=bounded(limit), page=page)

    @operation("GET /runs/{run}/media-keys")
    def media_keys(self, run: str) -> list[MediaKey]:
        """List the keys of a run's media, with the number of their items and the steps that they span.

        Raises NotFound.
        """
        with self.database.read() as connection:
            runs.require_run(connection, run)
            return store.keys(connection, run)


def _check(items: Sequence[MediaItem]) -> None:
    if len(items) > MAX_ITEMS:
        raise TooLarge(f"{len(items)} media at once, at most {MAX_ITEMS}: send several times", limit=MAX_ITEMS)
    for item in items:
        check_batch([Metric(item.key, 0.0, item.step, item.at_us)], {}, {})
        check_path(item.path)
        if item.caption is not None and (len(item.caption) > MAX_CAPTION_CHARS or "\0" in item.caption):
            raise InvalidRequest(f"the caption of {item.path!r} has more than {MAX_CAPTION_CHARS} characters, or a NUL")
        if not 0 <= item.number < 2**31 or item.size < 0:
            raise InvalidRequest(
                f"{item.path!r} has the number {item.number} and the size {item.size}: both are counts"
            )
