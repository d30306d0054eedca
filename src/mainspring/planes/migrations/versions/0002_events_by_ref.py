"""Events by every ref that they name, and alarms by their reference: both were looked for row by row."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_BATCH = 5_000


def upgrade() -> None:
    """Create the table and fill it from the events that are there, then the index."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    refs = op.create_table(
        "event_refs",
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("event", number, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("ref", "event", name="pk_event_refs"),
    )
    _fill(op.get_bind(), refs)
    op.create_index("ix_monitor_alarms_reference", "monitor_alarms", ["reference"], unique=False)


def _fill(connection: sa.Connection, refs: sa.Table) -> None:
    events = sa.table("events", sa.column("id"), sa.column("reads"), sa.column("makes"))
    last = 0
    while True:
        query = sa.select(events).where(events.c.id > last).order_by(events.c.id).limit(_BATCH)
        found = connection.execute(query).all()
        if not found:
            return
        last = found[-1].id
        rows = (_row(event.id, ref) for event in found for ref in _named(event))
        while part := list(islice(rows, _BATCH)):
            connection.execute(refs.insert(), part)


def _named(event: sa.Row[Any]) -> list[str]:
    return list(dict.fromkeys([*json.loads(event.reads), *json.loads(event.makes)]))


def _row(event: int, ref: str) -> dict[str, object]:
    return {"ref": ref, "event": event}
