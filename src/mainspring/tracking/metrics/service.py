"""The verbs that read many points: whole histories, those of several runs, and such as a chart has room for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mainspring.storage.sql.database import Database
from mainspring.tracking.metrics import reading, sampling
from mainspring.tracking.metrics.columns import Columns
from mainspring.tracking.metrics.reading import MAX_PART, STEPS
from mainspring.tracking.metrics.thinning import Thinning
from mainspring.tracking.model import MAX_HISTORY, History
from mainspring.tracking.paging import bounded


class MetricHistories:
    """Points of metrics, in the order of step, time and value; of a run that nobody knows there are none."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, run: str, key: str, limit: int = MAX_HISTORY, page: str | None = None) -> tuple[Columns, str | None]:
        """Read up to *limit* points, and the token of the next page if there is one.

        Raises InvalidRequest for more than 25,000 or a foreign token.
        """
        with self._database.read() as connection:
            return reading.read_page(connection, run, key, bounded(limit, MAX_HISTORY), page)

    def whole(self, run: str, key: str) -> Iterator[Columns]:
        """Read every point, in parts of up to 100,000."""
        after = None
        while True:
            with self._database.read() as connection:
                part = reading.read_columns(connection, run, key, limit=MAX_PART, after=after)
            yield part
            if len(part.steps) < MAX_PART:
                return
            after = part.last()

    def sampled(
        self, runs: Sequence[str], key: str, most: int, steps: tuple[int, int] | None = None
    ) -> dict[str, Columns]:
        """Read up to *most* points of each of several runs, spread evenly over what it has, the last among them.

        *steps* narrows them to a range. Runs that have none there are left out.
        """
        with self._database.read() as connection:
            return sampling.read_samples(connection, runs, key, most, steps or STEPS)

    def thinned(self, run: str, key: str, most: int, method: Thinning) -> History:
        """Read up to *most* points of a history, with its first and its last; *method* chooses among the others."""
        with self._database.read() as connection:
            return reading.read_thinned(connection, run, key, most, method)
