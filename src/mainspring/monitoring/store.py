"""Where references, cursors, reports and alarms are kept."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    func,
    select,
)

from mainspring.monitoring.model import Alarm, Cursor, Cut, Reference, Settings, WindowReport
from mainspring.storage.sql.schema import Instant, Packed, metadata, upsert

monitor_references = Table(
    "monitor_references",
    metadata,
    Column("id", Text, primary_key=True),
    Column("endpoint", Text, nullable=False),
    Column("release", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("token", Text, unique=True),
    Column("body", Packed(Reference), nullable=False),
    Index("ix_monitor_references_release", "endpoint", "release"),
)

monitors = Table(
    "monitors",
    metadata,
    Column("endpoint", Text, primary_key=True),
    Column("reference", Text, ForeignKey("monitor_references.id"), nullable=False),
)

monitor_settings = Table(
    "monitor_settings",
    metadata,
    Column("endpoint", Text, primary_key=True),
    Column("settings", Packed(Settings), nullable=False),
)

monitor_cursors = Table(
    "monitor_cursors",
    metadata,
    Column("reference", Text, ForeignKey("monitor_references.id"), primary_key=True),
    Column("cut", Text, primary_key=True),
    Column("mark", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False),
    Column("until", Instant),
    Column("windows", Integer, nullable=False),
)

monitor_windows = Table(
    "monitor_windows",
    metadata,
    Column("id", Text, primary_key=True),
    Column("endpoint", Text, nullable=False),
    Column("reference", Text, ForeignKey("monitor_references.id"), nullable=False),
    Column("cut", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("month", Integer, nullable=False),
    Column("end", Instant, nullable=False),
    Column("report", Packed(WindowReport), nullable=False),
    UniqueConstraint("reference", "cut", "number"),
    Index("ix_monitor_windows_endpoint", "endpoint", "id"),
)

monitor_alarms = Table(
    "monitor_alarms",
    metadata,
    Column("id", Text, primary_key=True),
    Column("endpoint", Text, nullable=False),
    Column("reference", Text, ForeignKey("monitor_references.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("alarm", Packed(Alarm), nullable=False),
    Index("ix_monitor_alarms_endpoint", "endpoint", "id"),
    Index("ix_monitor_alarms_reference", "reference"),
)


def insert_reference(connection: Connection, reference: Reference, token: str | None) -> None:
    """Keep a reference."""
    connection.execute(
        monitor_references.insert(),
        {
            "id": reference.id,
            "endpoint": reference.endpoint,
            "release": reference.release,
            "at": reference.at,
            "token": token,
            "body": reference,
        },
    )


def reference_by_token(connection: Connection, token: str) -> Reference | None:
    """Give the reference that was set with this token."""
    query = select(monitor_references.c.body).where(monitor_references.c.token == token)
    return connection.execute(query).scalar_one_or_none()


def latest_reference(connection: Connection, endpoint: str, release: str) -> Reference | None:
    """Give the newest reference of a release."""
    table = monitor_references
    query = select(table.c.body).where(table.c.endpoint == endpoint, table.c.release == release)
    return connection.execute(query.order_by(table.c.id.desc()).limit(1)).scalar_one_or_none()


def watch(connection: Connection, endpoint: str, reference: str) -> None:
    """Make this the reference that the endpoint is watched against."""
    upsert(connection, monitors, {"endpoint": endpoint, "reference": reference}, keys=["endpoint"])


def watched(connection: Connection, endpoint: str) -> Reference | None:
    """Give the reference that the endpoint is watched against."""
    query = select(monitor_references.c.body).join(monitors, monitors.c.reference == monitor_references.c.id)
    return connection.execute(query.where(monitors.c.endpoint == endpoint)).scalar_one_or_none()


def endpoints(connection: Connection) -> list[str]:
    """List the endpoints that are watched."""
    return list(connection.execute(select(monitors.c.endpoint).order_by(monitors.c.endpoint)).scalars())


def settings(connection: Connection, endpoint: str) -> Settings | None:
    """Give what was set for an endpoint."""
    query = select(monitor_settings.c.settings).where(monitor_settings.c.endpoint == endpoint)
    return connection.execute(query).scalar_one_or_none()


def set_settings(connection: Connection, endpoint: str, value: Settings) -> None:
    """Keep how an endpoint is to be monitored."""
    upsert(connection, monitor_settings, {"endpoint": endpoint, "settings": value}, keys=["endpoint"])


def cursor(connection: Connection, reference: str, cut: Cut) -> Cursor:
    """Give how far the log was cut; the beginning where nothing was."""
    table = monitor_cursors
    query = select(table.c.mark, table.c.used, table.c.until, table.c.windows)
    row = connection.execute(query.where(table.c.reference == reference, table.c.cut == cut)).one_or_none()
    return Cursor() if row is None else Cursor(mark=row.mark, used=row.used, until=row.until, windows=row.windows)


def set_cursor(connection: Connection, reference: str, cut: Cut, value: Cursor) -> None:
    """Remember how far the log was cut."""
    row = {
        "reference": reference,
        "cut": cut,
        "mark": value.mark,
        "used": value.used,
        "until": value.until,
        "windows": value.windows,
    }
    upsert(connection, monitor_cursors, row, keys=["reference", "cut"])


def skip(connection: Connection, reference: str, mark: int) -> None:
    """Leave out of future windows what is in the log up to *mark*."""
    cuts: tuple[Cut, ...] = ("inputs", "labels")
    for cut in cuts:
        windows = cursor(connection, reference, cut).windows
        set_cursor(connection, reference, cut, Cursor(mark=mark + 1, windows=windows))


def insert_report(connection: Connection, report: WindowReport, month: int) -> None:
    """Keep the report of a window, and its alarms."""
    connection.execute(
        monitor_windows.insert(),
        {
            "id": report.id,
            "endpoint": report.endpoint,
            "reference": report.reference.partition(":")[2],
            "cut": report.cut,
            "number": report.number,
            "month": month,
            "end": report.end,
            "report": report,
        },
    )
    if report.alarms:
        connection.execute(monitor_alarms.insert(), [_alarm_row(alarm) for alarm in report.alarms])


def _alarm_row(alarm: Alarm) -> dict[str, object]:
    return {
        "id": alarm.id,
        "endpoint": alarm.endpoint,
        "reference": alarm.reference.partition(":")[2],
        "kind": alarm.finding.kind,
        "at": alarm.at,
        "alarm": alarm,
    }


def windows_in_month(connection: Connection, reference: str, cut: Cut, month: int) -> int:
    """Count the windows of a month that were checked already."""
    table = monitor_windows
    query = select(func.count()).where(table.c.reference == reference, table.c.cut == cut, table.c.month == month)
    return int(connection.execute(query).scalar_one())


def reports(
    connection: Connection, endpoint: str, *, limit: int, cut: Cut | None = None, reference: str | None = None
) -> list[WindowReport]:
    """List the newest reports first."""
    table = monitor_windows
    query = select(table.c.report).where(table.c.endpoint == endpoint).order_by(table.c.id.desc()).limit(limit)
    if cut is not None:
        query = query.where(table.c.cut == cut)
    if reference is not None:
        query = query.where(table.c.reference == reference)
    return list(connection.execute(query).scalars())


def report(connection: Connection, id: str) -> WindowReport | None:
    """Give one report."""
    query = select(monitor_windows.c.report).where(monitor_windows.c.id == id)
    return connection.execute(query).scalar_one_or_none()


def alarms(
    connection: Connection, endpoint: str, *, limit: int, since: datetime | None = None, reference: str | None = None
) -> list[Alarm]:
    """List the newest alarms first."""
    table = monitor_alarms
    query = select(table.c.alarm).where(table.c.endpoint == endpoint).order_by(table.c.id.desc()).limit(limit)
    if since is not None:
        query = query.where(table.c.at >= since)
    if reference is not None:
        query = query.where(table.c.reference == reference)
    return list(connection.execute(query).scalars())


def count_alarms(connection: Connection, reference: str) -> int:
    """Count the alarms against a reference."""
    query = select(func.count()).where(monitor_alarms.c.reference == reference)
    return int(connection.execute(query).scalar_one())
