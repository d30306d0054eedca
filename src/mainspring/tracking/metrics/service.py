"""The verbs that read many points: whole histories, those of several runs, and such as a chart has room for."""

from __future__ import annotations

from collections.abc import Iterator

from mainspring.storage.sql.database import Database
from mainspring.tracking.metrics import reading
from mainspring.tracking.model import MAX_HISTORY, History
from mainspring.tracking.paging import bounded


class MetricHistories:
    """Points of metrics, in the order of step, time and value; of a run that nobody knows there are none."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, run: str, key: str, limit: int = MAX_HISTORY, page: str | None = None) -> History:
        """Read up to *limit* points. Raises InvalidRequest for more than 25,000 or a foreign token."""
        with self._database.read() as connection:
            return reading.read_history(connection, run, key, bounded(limit, MAX_HISTORY), page)

    def whole(self, run: str, key: str) -> Iterator[History]:
        """Read every point, in parts of up to 25,000."""
        page = None
        while True:
            part = self.page(run, key, MAX_HISTORY, page)
            yield part
            page = part.next_page
            if page is None:
                return

    def sampled(self, run: str, key: str, most: int, steps: tuple[int, int] | None = None) -> History:
        """Read up to *most* points spread evenly over the history, or over *steps*, with its first and its last."""
        with self._database.read() as connection:
            return reading.read_sample(connection, run, key, most, steps)
