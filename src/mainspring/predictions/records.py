"""The values that the prediction log answers with."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

DamageKind = Literal["torn", "corrupt", "undecodable"]


class Ingested(msgspec.Struct, frozen=True, kw_only=True):
    """What one pass over the spool took in: rows of predictions, labels, and stretches that could not be read.

    ``skipped`` records had been taken in by a pass that died before it could say so. ``endpoints`` got something new.
    """

    predictions: int = 0
    labels: int = 0
    skipped: int = 0
    damages: int = 0
    endpoints: list[str] = []


class SpoolDamage(msgspec.Struct, frozen=True, kw_only=True):
    """Something in the spool that could not be taken in, and where its bytes were kept for a person to look at.

    ``torn`` was never acknowledged to anybody. ``records`` is how many are missing, None where nothing tells.
    """

    writer: str
    kind: DamageKind
    segment: int
    offset: int
    records: int | None
    kept: str
    at: datetime


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """One logged prediction with the refs that its lineage begins with, and its label when one came.

    A failed request has no ``output`` and says why in ``error``. ``score`` is the predicted number, the probability of
    the second of two classes, or the highest of several.
    """

    id: str
    at: datetime
    endpoint: str
    model: str
    release: str
    arm: str
    unit: str | None
    event_time: datetime | None
    latency_us: int
    status: int
    features: dict[str, Any]
    output: Any
    score: float | None
    error: str | None
    label: Any = None
    label_at: datetime | None = None


class ArmStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """How one arm of an endpoint did. ``refused`` requests were the caller's fault (4xx), ``errors`` ours (5xx)."""

    arm: str
    release: str
    model: str
    requests: int
    rows: int
    refused: int
    errors: int
    latency_us_p50: float
    latency_us_p99: float
    labelled: int


class LabelCounts(msgspec.Struct, frozen=True):
    """How labels met predictions.

    Of ``labels`` received, ``duplicates`` came for an id that had one. Of the distinct ids, ``matched`` are those of a
    prediction, ``unmatched`` those of none so far: unknown, or earlier than their prediction.
    """

    labels: int
    duplicates: int
    matched: int
    unmatched: int


class LogCounts(msgspec.Struct, frozen=True):
    """How far the log of an endpoint is: answered rows, and ids that got a label."""

    predictions: int
    labels: int
