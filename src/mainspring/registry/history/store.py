"""How the events of one model are found in the journal."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection as Connection
from sqlalchemy import or_, select

from mainspring.core.events import Recorded
from mainspring.storage.sql.journal import event_refs, events, recorded


def events_of(connection: Connection, name: str, kinds: Sequence[str]) -> list[Recorded]:
    """List the events of these kinds that name a model, one of its versions or one of its aliases, oldest first."""
    ref, prefix = event_refs.c.ref, f"model:{name}@"
    # Compared by bytes: a language's order would put other names in between.
    plain = ref.collate("C") if connection.dialect.name == "postgresql" else ref
    within = or_(ref == f"model:{name}", (plain >= prefix) & (plain < f"model:{name}A"))
    named = select(event_refs.c.event).where(within)
    query = select(events).where(events.c.id.in_(named), events.c.kind.in_(kinds)).order_by(events.c.id)
    return [recorded(row) for row in connection.execute(query)]
