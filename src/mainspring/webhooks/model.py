"""What is kept of webhooks and of what they were sent."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

Status = Literal["active", "disabled"]
DeliveryState = Literal["pending", "delivered", "failed"]


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """An address that is told of events by POST requests, signed when there is a secret, which is never given out.

    ``events`` are kinds of the journal (``ReleaseDeployed``; ``*`` for every one) and names that a protocol has for
    them (``registered_model.created``). One that is disabled is told nothing of what happens meanwhile.
    """

    id: str
    name: str
    url: str
    events: list[str]
    description: str = ""
    status: Status = "active"
    signed: bool = False
    created: datetime
    updated: datetime


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One event on its way to one webhook: how often it was tried, and what the last attempt came to.

    ``event`` is its number in the journal, ``name`` the name that the webhook has for it, ``due`` when it is tried
    next, ``response`` the HTTP status that was answered.
    """

    id: str
    webhook: str
    event: int
    name: str
    state: DeliveryState
    attempts: int
    created: datetime
    due: datetime | None = None
    ended: datetime | None = None
    response: int | None = None
    error: str | None = None


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one request: ``response`` is the HTTP status, None when there was no answer; ``error`` says why."""

    delivered: bool
    response: int | None = None
    body: str = ""
    error: str | None = None
    again: bool = False
    """Whether another attempt may fare better."""
    again_after_s: float | None = None
    """How long the receiver asked to be left alone."""
