"""Labels: what turned out to be true for predictions that were served."""

from __future__ import annotations

import time

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.predictions.model import LabelFact, encode_fact


class Label(msgspec.Struct, frozen=True):
    """The truth for one prediction id."""

    id: str
    value: str | int | float | bool


class Labels(msgspec.Struct, frozen=True):
    """The labels of one call."""

    labels: list[Label]


_decode = msgspec.json.Decoder(Labels).decode


def label_facts(endpoint: str, body: bytes) -> list[bytes]:
    """Read ``{"labels": [{"id": ..., "value": ...}]}`` into spool facts; raises InvalidRequest when it is not that."""
    try:
        given = _decode(body)
    except (msgspec.MsgspecError, RecursionError) as malformed:
        raise InvalidRequest(
            f'the labels cannot be read: {malformed}; expected {{"labels": [{{"id": "...", "value": ...}}]}}'
        ) from None
    at_us = time.time_ns() // 1000
    empty = [place for place, label in enumerate(given.labels) if not label.id]
    if empty:
        raise InvalidRequest(f"label {empty[0]} has no id; expected the prediction id that the answer carried")
    return [encode_fact(LabelFact(endpoint, label.id, label.value, at_us)) for label in given.labels]
