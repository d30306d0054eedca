"""An alert is an event of its run, raised once however often it is sent."""

from __future__ import annotations

import pytest

from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.storage.objects.store import open_objects
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import latest_events
from mainspring.tracking.alerts.service import Alerts
from mainspring.tracking.service import Tracking


@pytest.fixture
def runs(database: Database, tmp_path: object) -> list[str]:
    tracking = Tracking(database, open_objects(f"file://{tmp_path}/objects"))
    return [tracking.create_run("churn").id for _ in range(2)]


def test_alerts_are_listed_newest_first_by_run_and_level(database: Database, runs: list[str]) -> None:
    alerts = Alerts(database)
    alerts.raise_alert(runs[0], "first", "why", "error")
    alerts.raise_alert(runs[1], "second")
    assert [(alert.run, alert.title, alert.text, alert.level) for alert in alerts.list_alerts()] == [
        (runs[1], "second", "", "warning"),
        (runs[0], "first", "why", "error"),
    ]
    assert [alert.title for alert in alerts.list_alerts(run=runs[0])] == ["first"]
    assert [alert.title for alert in alerts.list_alerts(level="warning")] == ["second"]
    assert len(alerts.list_alerts(limit=1)) == 1


def test_an_alert_that_is_sent_again_is_raised_once(database: Database, runs: list[str]) -> None:
    alerts = Alerts(database)
    for sequence in (1, 1, 2, 1):
        alerts.raise_alert(runs[0], f"number {sequence}", writer="w", sequence=sequence)
    assert [alert.title for alert in alerts.list_alerts()] == ["number 2", "number 1"]
    with database.read() as connection:
        (event, _) = latest_events(connection, kind="RunAlerted")
    assert event.makes == [f"run:{runs[0]}"]


def test_what_cannot_be_an_alert_is_refused(database: Database, runs: list[str]) -> None:
    alerts = Alerts(database)
    for title, text in (("", ""), ("x" * 251, ""), ("x", "y" * 8_001), ("x\0", "")):
        with pytest.raises(InvalidRequest):
            alerts.raise_alert(runs[0], title, text)
    with pytest.raises(NotFound):
        alerts.raise_alert("nobody", "x")
    assert alerts.list_alerts() == []
