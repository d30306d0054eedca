"""The verbs of alerts: raise one, list them."""

from __future__ import annotations

from datetime import datetime

import msgspec

from mainspring.core.clock import Clock, SystemClock
from mainspring.core.events import Recorded
from mainspring.core.operations import operation
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import emit, latest_events
from mainspring.tracking import store as runs
from mainspring.tracking.alerts.events import RunAlerted
from mainspring.tracking.alerts.model import Alert, AlertLevel, check_alert
from mainspring.tracking.model import run_ref
from mainspring.tracking.paging import bounded

_LOOKED_AT = 1_000


class Alerts:
    """Alerts are events of the journal, so that whoever listens to it hears of them."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self.database = database
        self.clock = clock or SystemClock()

    @operation("POST /runs/{run}/alerts")
    def raise_alert(
        self,
        run: str,
        title: str,
        text: str = "",
        level: AlertLevel = "warning",
        raised: datetime | None = None,
        writer: str | None = None,
        sequence: int = 0,
    ) -> None:
        """Say that somebody should look at a run.

        A *writer* numbers what it sends upwards in *sequence*: what was reached already is ignored, so it may be sent
        again. Raises NotFound, InvalidRequest for a title or text that is too long, Conflict when the run is deleted.
        """
        check_alert(title, text)
        with runs.writing(self.database, run) as connection:
            if writer is not None and not runs.advance_writer(connection, run, writer, sequence):
                return
            at = (raised or self.clock.now()).isoformat()
            emit(connection, RunAlerted(run=run_ref(run), title=title, text=text, level=level, raised=at))

    @operation("GET /alerts")
    def list_alerts(self, run: str | None = None, level: AlertLevel | None = None, limit: int = 50) -> list[Alert]:
        """List the newest alerts first: of one run, or of all; of one level, or of all."""
        wanted = bounded(limit, _LOOKED_AT)
        with self.database.read() as connection:
            looked_at = wanted if level is None else _LOOKED_AT
            ref = None if run is None else run_ref(run)
            found = latest_events(connection, ref=ref, kind=RunAlerted.__name__, limit=looked_at)
        alerts = [_alert(event) for event in found]
        return [alert for alert in alerts if level in (None, alert.level)][:wanted]


def _alert(event: Recorded) -> Alert:
    said = msgspec.convert(event.body, RunAlerted)
    return Alert(event.id, said.run.partition(":")[2], said.level, said.title, said.text, said.raised)
