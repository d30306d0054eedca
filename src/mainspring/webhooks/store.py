"""Where webhooks and their deliveries are kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Column, Index, Integer, Row, Table, Text, UniqueConstraint, delete, func, select, update
from sqlalchemy import Connection as Connection

from mainspring.core.errors import NotFound
from mainspring.runtime.presence import Process
from mainspring.storage.sql.journal import events
from mainspring.storage.sql.schema import Identity64, Instant, Packed, metadata, upsert
from mainspring.webhooks.model import Delivery, DeliveryState, Webhook

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("events", Packed(list[str]), nullable=False),
    Column("description", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("sealed", Text),
    Column("position", Identity64, nullable=False),
    Column("since", Packed(dict[str, int]), nullable=False),
    Column("created", Instant, nullable=False),
    Column("updated", Instant, nullable=False),
)

deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("webhook", Text, nullable=False),
    Column("event", Identity64, nullable=False),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created", Instant, nullable=False),
    Column("due", Instant),
    Column("ended", Instant),
    Column("response", Integer),
    Column("error", Text),
    Column("process", Packed(Process)),
    UniqueConstraint("webhook", "event", "name"),
    Index("ix_webhook_deliveries_due", "state", "due"),
    Index("ix_webhook_deliveries_webhook", "webhook", "state", "id"),
)


class Subscriber(msgspec.Struct, frozen=True):
    """A webhook as those know it who deliver.

    ``position`` is the number of the last event that it was told of or that came before it, ``since`` that of the last
    one before it asked for a name, ``sealed`` its secret.
    """

    webhook: Webhook
    position: int
    since: dict[str, int]
    sealed: str | None


# Webhooks -------------------------------------------------------------------------------------------------------------


def newest_event(connection: Connection) -> int:
    """Give the number of the newest event of the journal, 0 when there is none."""
    return int(connection.execute(select(func.coalesce(func.max(events.c.id), 0))).scalar_one())


def insert(
    connection: Connection, webhook: Webhook, sealed: str | None, position: int, since: Mapping[str, int]
) -> None:
    """Add a webhook."""
    told = {column.name: getattr(webhook, column.name, None) for column in webhooks.c}
    connection.execute(webhooks.insert(), {**told, "sealed": sealed, "position": position, "since": since})


def count(connection: Connection) -> int:
    """Count the webhooks."""
    return int(connection.execute(select(func.count()).select_from(webhooks)).scalar_one())


def every(connection: Connection) -> list[Webhook]:
    """List the webhooks, newest first."""
    query = select(webhooks).order_by(webhooks.c.created.desc(), webhooks.c.id.desc())
    return [_subscriber(row).webhook for row in connection.execute(query)]


def require(connection: Connection, id: str) -> Subscriber:
    """Get a webhook; raises NotFound."""
    found = find(connection, id)
    if found is None:
        raise NotFound(f"Webhook with ID {id} not found.", webhook=id)
    return found


def find(connection: Connection, id: str) -> Subscriber | None:
    """Find a webhook."""
    row = connection.execute(select(webhooks).where(webhooks.c.id == id)).first()
    return None if row is None else _subscriber(row)


def change(connection: Connection, id: str, values: Mapping[str, Any]) -> None:
    """Change columns of a webhook."""
    connection.execute(update(webhooks).where(webhooks.c.id == id).values(**values))


def remove(connection: Connection, id: str) -> None:
    """Delete a webhook with its deliveries."""
    connection.execute(delete(deliveries).where(deliveries.c.webhook == id))
    connection.execute(delete(webhooks).where(webhooks.c.id == id))


def subscribers(connection: Connection) -> list[Subscriber]:
    """List the webhooks that are active."""
    query = select(webhooks).where(webhooks.c.status == "active").order_by(webhooks.c.id)
    return [_subscriber(row) for row in connection.execute(query)]


def come_to(connection: Connection, ids: Collection[str], position: int) -> None:
    """Write down that these webhooks were told of everything up to *position*."""
    behind = webhooks.c.id.in_(list(ids)) & (webhooks.c.position < position)
    connection.execute(update(webhooks).where(behind).values(position=position))


def _subscriber(row: Row[Any]) -> Subscriber:
    values = dict(row._mapping)
    sealed, position, since = values.pop("sealed"), values.pop("position"), values.pop("since")
    return Subscriber(Webhook(**values, signed=sealed is not None), position, since, sealed)


# Deliveries -----------------------------------------------------------------------------------------------------------


def add(connection: Connection, found: Sequence[Delivery]) -> None:
    """Add deliveries; one of the same event to the same webhook under the same name is left as it is."""
    rows = [msgspec.to_builtins(delivery, builtin_types=(datetime,)) for delivery in found]
    upsert(connection, deliveries, rows, keys=["webhook", "event", "name"], update=[])


def count_pending(connection: Connection, webhook: str) -> int:
    """Count what waits for one webhook."""
    query = select(func.count()).where((deliveries.c.webhook == webhook) & (deliveries.c.state == "pending"))
    return int(connection.execute(query).scalar_one())


def listed(
    connection: Connection, webhook: str, *, state: DeliveryState | None = None, limit: int = 100
) -> list[Delivery]:
    """List deliveries to a webhook, newest first."""
    query = select(deliveries).where(deliveries.c.webhook == webhook).order_by(deliveries.c.id.desc()).limit(limit)
    if state is not None:
        query = query.where(deliveries.c.state == state)
    return [_delivery(row) for row in connection.execute(query)]


def require_delivery(connection: Connection, webhook: str, id: str) -> Delivery:
    """Get a delivery to a webhook; raises NotFound."""
    which = (deliveries.c.webhook == webhook) & (deliveries.c.id == id)
    row = connection.execute(select(deliveries).where(which)).first()
    if row is None:
        raise NotFound(f"webhook {webhook} has no delivery {id}; old ones are not kept", webhook=webhook, delivery=id)
    return _delivery(row)


def next_due(connection: Connection) -> datetime | None:
    """Give when something is to be tried next."""
    return connection.execute(select(func.min(deliveries.c.due)).where(deliveries.c.state == "pending")).scalar()


def webhooks_due(connection: Connection, now: datetime, *, without: Collection[str], limit: int) -> list[str]:
    """List the webhooks that have something to be tried now, those that wait longest first."""
    c = deliveries.c
    query = select(c.webhook).where((c.state == "pending") & (c.due <= now) & c.webhook.not_in(list(without)))
    query = query.group_by(c.webhook).order_by(func.min(c.due)).limit(limit)
    return list(connection.execute(query).scalars())


def first_due(connection: Connection, webhook: str, now: datetime) -> Delivery | None:
    """Find what is to be tried first of what is due for a webhook."""
    c = deliveries.c
    query = select(deliveries).where((c.webhook == webhook) & (c.state == "pending") & (c.due <= now))
    row = connection.execute(query.order_by(c.id).limit(1)).first()
    return None if row is None else _delivery(row)


def claim(connection: Connection, seen: Delivery, until: datetime, process: Process) -> bool:
    """Begin an attempt, which is due again at *until* if nothing is heard of it; False when somebody else has begun."""
    unchanged = _unchanged(seen) & (deliveries.c.due == seen.due)
    values = {"due": until, "attempts": seen.attempts + 1, "process": process}
    return connection.execute(update(deliveries).where(unchanged).values(values)).rowcount == 1


def settle(connection: Connection, seen: Delivery, **values: Any) -> None:
    """Write down what came of an attempt, unless the delivery was changed meanwhile."""
    connection.execute(update(deliveries).where(_unchanged(seen)).values(process=None, **values))


def give_up_pending(connection: Connection, webhook: str, now: datetime, error: str) -> None:
    """Let nothing wait for a webhook any more."""
    which = (deliveries.c.webhook == webhook) & (deliveries.c.state == "pending")
    values = {"state": "failed", "due": None, "ended": now, "error": error, "process": None}
    connection.execute(update(deliveries).where(which).values(values))


def try_again(connection: Connection, id: str, now: datetime) -> None:
    """Let a delivery wait to be tried, as if it were new."""
    values = {"state": "pending", "due": now, "attempts": 0, "ended": None, "process": None}
    connection.execute(update(deliveries).where(deliveries.c.id == id).values(values))


def attempts_under_way(connection: Connection) -> list[tuple[str, Process]]:
    """List the deliveries that a process has begun to try."""
    which = (deliveries.c.state == "pending") & deliveries.c.process.is_not(None)
    return [
        (id, process) for id, process in connection.execute(select(deliveries.c.id, deliveries.c.process).where(which))
    ]


def hand_back(connection: Connection, ids: Sequence[str], now: datetime) -> None:
    """Let deliveries whose attempt nobody ends be tried now."""
    which = deliveries.c.id.in_(list(ids)) & (deliveries.c.state == "pending")
    connection.execute(update(deliveries).where(which).values(due=now, process=None))


def forget_ended(connection: Connection, webhook: str, *, keep: int) -> None:
    """Delete all but the newest *keep* deliveries of a webhook that ended."""
    c = deliveries.c
    ended = (c.webhook == webhook) & c.state.in_(["delivered", "failed"])
    last = connection.execute(select(c.id).where(ended).order_by(c.id.desc()).offset(keep).limit(1)).scalar()
    if last is not None:
        connection.execute(delete(deliveries).where(ended & (c.id <= last)))


def _unchanged(seen: Delivery) -> Any:
    c = deliveries.c
    return (c.id == seen.id) & (c.state == "pending") & (c.attempts == seen.attempts)


def _delivery(row: Row[Any]) -> Delivery:
    values = dict(row._mapping)
    del values["process"]
    return Delivery(**values)
