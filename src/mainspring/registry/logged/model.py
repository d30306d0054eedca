"""What is kept of a logged model."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

LoggedStatus = Literal["pending", "ready", "failed"]


class LoggedMetric(msgspec.Struct, frozen=True, kw_only=True):
    """One value that was measured of a logged model, by which run and on which dataset; None is NaN."""

    key: str
    value: float | None
    at: datetime
    step: int = 0
    run: str = ""
    dataset: str | None = None
    dataset_digest: str | None = None


class LoggedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that a run, or nobody's run, left behind in an experiment: its files, what it is, how good it is.

    ``pending`` until whoever logs it says that its files are complete. ``run`` is the id of the run that made it.
    """

    id: str
    experiment: str
    name: str
    created: datetime
    updated: datetime
    status: LoggedStatus = "pending"
    model_type: str | None = None
    run: str | None = None
    deleted: datetime | None = None
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    metrics: list[LoggedMetric] = []


class MetricOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A field to sort logged models by: an attribute or a *metric*, the latter on a dataset if one is named."""

    key: str
    metric: bool = False
    descending: bool = False
    dataset: str | None = None
    dataset_digest: str | None = None


class OnDataset(msgspec.Struct, frozen=True):
    """Metrics on a dataset: of this name, and of this digest if one is given."""

    name: str
    digest: str | None = None
