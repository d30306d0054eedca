"""Where the revisions of cards are kept."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, Integer, Table, Text, func, select
from sqlalchemy import Connection as Connection

from mainspring.core.actor import current_actor
from mainspring.registry.cards.model import Card
from mainspring.registry.model import ModelVersion
from mainspring.registry.store import set_version
from mainspring.storage.sql.schema import Instant, metadata

model_cards = Table(
    "model_cards",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("text", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
)


def revise(connection: Connection, version: ModelVersion, text: str, at: datetime) -> int:
    """Give a version another card, and give its revision; the model must be locked.

    The card that it was registered with, which has no revision of its own yet, becomes the first.
    """
    c = model_cards.c
    mine = (c.name == version.name) & (c.version == version.version)
    last = connection.execute(select(func.max(c.revision)).where(mine)).scalar() or 0
    owner = {"name": version.name, "version": version.version}
    rows = []
    if not last and version.card:
        last = 1
        first = {"revision": 1, "text": version.card, "at": version.created, "actor": "who registered it"}
        rows.append({**owner, **first})
    rows.append({**owner, "revision": last + 1, "text": text, "at": at, "actor": current_actor().name})
    connection.execute(model_cards.insert(), rows)
    set_version(connection, version, {"card": text, "updated": at})
    return last + 1


def revisions_of(connection: Connection, version: ModelVersion) -> list[Card]:
    """List the cards that a version has had, the newest first; the one that it was registered with among them."""
    c = model_cards.c
    query = select(c.revision, c.text, c.at, c.actor).where((c.name == version.name) & (c.version == version.version))
    found = [
        Card(model=version.ref, revision=row.revision, text=row.text, at=row.at, actor=row.actor)
        for row in connection.execute(query.order_by(c.revision.desc()))
    ]
    if not found and version.card:
        found.append(
            Card(model=version.ref, revision=1, text=version.card, at=version.created, actor="who registered it")
        )
    return found
