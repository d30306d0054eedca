"""What is told of deleted models."""

from __future__ import annotations

from datetime import datetime

import msgspec


class DeletedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model, or one version of it, that was deleted: when, by whom, and with how many versions."""

    name: str
    version: int | None
    versions: int
    at: datetime
    actor: str
