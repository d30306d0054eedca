"""Names for what happens, and the words in which it is told: the journal's own, and those of protocols."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Any, Protocol

from mainspring.core.events import Event, Recorded

EVERYTHING = "*"
_SECRET_PREFIX = "whsec_"


class Vocabulary(Protocol):
    """One way to tell of events. No two vocabularies have a name in common."""

    def names(self) -> Collection[str]:
        """List the names that webhooks can ask for."""
        ...

    def kinds(self, name: str) -> Collection[str] | None:
        """List the kinds of the journal that may mean *name*; None: any."""
        ...

    def tell(self, event: Recorded, name: str) -> Any | None:
        """Give the body, as it is to be encoded, that tells of *event* as *name*; None when it does not mean that."""
        ...

    def example(self, name: str) -> Any:
        """Give a body as `tell` would, made up for trying a webhook out."""
        ...

    def headers(self, delivery: str, at_s: int, body: bytes, secret: str | None) -> dict[str, str]:
        """Give the headers that name the delivery and its time, and sign it where there is a secret."""
        ...


class Journal:
    """The journal's own words: an event as it is recorded. Headers and signature are those of Standard Webhooks."""

    def names(self) -> Collection[str]:
        """List the kinds of all events that this process knows, and ``*``."""
        return sorted({EVERYTHING, *_kinds(Event)})

    def kinds(self, name: str) -> Collection[str] | None:
        """Give the kind, which is its name."""
        return None if name == EVERYTHING else [name]

    def tell(self, event: Recorded, name: str) -> Recorded:
        """Give the event."""
        return event

    def example(self, name: str) -> Recorded:
        """Give an event that never happened: number 0, without a body."""
        now = datetime.now(UTC).isoformat()
        return Recorded(id=0, kind=name, at=now, actor="mainspring", origin="test", body={}, reads=[], makes=[])

    def headers(self, delivery: str, at_s: int, body: bytes, secret: str | None) -> dict[str, str]:
        """Give ``webhook-id``, ``webhook-timestamp`` and ``webhook-signature``."""
        found = {"webhook-id": delivery, "webhook-timestamp": str(at_s)}
        if secret is not None:
            found["webhook-signature"] = signature(_key(secret), delivery, at_s, body)
        return found


def signature(key: bytes, delivery: str, at_s: int, body: bytes) -> str:
    """Sign a delivery: ``v1,`` and the HMAC-SHA256 of its id, its time and its body in base 64."""
    signed = f"{delivery}.{at_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def _key(secret: str) -> bytes:
    # A secret in the form of Standard Webhooks stands for the bytes that it encodes.
    if secret.startswith(_SECRET_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
        except binascii.Error:
            pass
    return secret.encode()


def _kinds(kind: type[Event]) -> Iterator[str]:
    for child in kind.__subclasses__():
        # What others derive from is no event itself.
        if not child.__name__.startswith("_") and not child.__subclasses__():
            yield child.__name__
        yield from _kinds(child)
