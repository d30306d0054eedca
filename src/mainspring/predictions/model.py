"""The facts that the data plane writes to its spool; nothing here imports more than msgspec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec


class PredictionItem(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One answered request of *rows* rows.

    ``values`` is column-major: one list for each name of the batch, each of ``rows`` values. When the model takes one
    matrix, ``values`` is a single flat row-major list of ``rows * len(names)`` numbers. ``outputs`` has one list for
    each output name, each of ``rows`` entries (an entry is a list for outputs such as probabilities).
    ``status`` is the HTTP status of the answer; a refused or failed request has no outputs and says why in ``error``.
    """

    id: str
    at_us: int
    unit: str | None
    event_us: int | None
    latency_us: int
    status: int
    rows: int
    values: list[Any]
    outputs: Sequence[list[Any]]
    error: str | None = None


class PredictionBatch(msgspec.Struct, frozen=True, tag="prediction", array_like=True, gc=False):
    """The requests of one model run; what they share is said once."""

    endpoint: str
    model: str
    release: str
    arm: str
    names: list[str]
    output_names: list[str]
    items: list[PredictionItem]


class LabelFact(msgspec.Struct, frozen=True, tag="label", array_like=True):
    """What turned out to be true for one prediction id (of a row: ``<request id>`` or ``<request id>.<row>``)."""

    endpoint: str
    id: str
    value: str | int | float | bool
    at_us: int


Fact = PredictionBatch | LabelFact
encode_fact = msgspec.msgpack.Encoder().encode
decode_fact = msgspec.msgpack.Decoder(Fact).decode


def row_id(request_id: str, row: int, rows: int) -> str:
    """Give the prediction id of one row of a request."""
    return request_id if rows == 1 else f"{request_id}.{row}"
