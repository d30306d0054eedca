"""What the arms have done, counted from the prediction log."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Protocol

import msgspec
import numpy as np
import polars as pl

from mainspring.predictions.log import PredictionLog
from mainspring.registry.answers import scores_of, truth_of
from mainspring.registry.quality import Array, Scores, default_metric, losses, metric_named
from mainspring.registry.signature import ModelInfo
from mainspring.rollouts.model import ArmReading, Reading
from mainspring.rollouts.sequential import Sample

TOO_MANY_REQUESTS = 429
_ID_LENGTH = 26
_decode = msgspec.json.Decoder().decode


class Known(Protocol):
    """A model version, as far as its answers have to be understood."""

    @property
    def info(self) -> ModelInfo: ...


class Versions(Protocol):
    """Finds model versions."""

    def resolve(self, model: str) -> Known:
        """Give the version that a ref stands for; raises NotFound."""
        ...


class ArmEvidence:
    """The `ArmStatistics` of the prediction log.

    An error is an answer with a status of 400 or more: a canary that refuses what the stable arm takes is harmful too.
    429 is none, it is the caller's. Quality is the loss that stands for the stable model's metric (`registry.quality`),
    of the rows whose label has come.
    """

    def __init__(self, predictions: PredictionLog, registry: Versions) -> None:
        self._predictions = predictions
        self._registry = registry

    def read(
        self,
        endpoint: str,
        *,
        stable: str,
        canary: str,
        since: datetime,
        step_since: datetime,
        slow_us: int | None,
        quantile: float,
    ) -> Reading:
        """Count what both releases have answered since *since*; see `rollouts.service.ArmStatistics`."""
        rows = self._predictions.read(endpoint, since, columns={}).rows
        arms = {release: rows.filter(pl.col("release") == release) for release in (stable, canary)}
        lost = self._losses(arms[stable], arms[canary])
        return Reading(
            stable=_reading(arms[stable], lost[0], step_since, slow_us, quantile),
            canary=_reading(arms[canary], lost[1], step_since, slow_us, quantile),
        )

    def _losses(self, *arms: pl.DataFrame) -> list[Sample]:
        labelled = [rows.filter(pl.col("label").is_not_null(), pl.col("output").is_not_null()) for rows in arms]
        if not all(rows.height for rows in labelled):
            return [Sample() for _ in arms]
        infos = [self._registry.resolve(rows["model"][0]).info for rows in labelled]
        if any(info.task is None for info in infos):
            return [Sample() for _ in arms]
        answers = [_answers(info, rows) for info, rows in zip(infos, labelled, strict=True)]
        metric = infos[0].metric or default_metric(infos[0].task or "binary")
        if metric_named(metric).needs_probabilities and any(scores.probabilities is None for _, scores in answers):
            metric = "accuracy"
        return [_sample(losses(metric, truth, scores)) for truth, scores in answers]


def _reading(
    rows: pl.DataFrame, lost: Sample, step_since: datetime, slow_us: int | None, quantile: float
) -> ArmReading:
    # The rows of one request share the first characters of their ids, its latency and its status.
    requests = rows.group_by(pl.col("prediction_id").str.slice(0, _ID_LENGTH).alias("request")).agg(
        pl.col("status", "latency_us", "unit", "at").first()
    )
    wrong = (pl.col("status") >= 400) & (pl.col("status") != TOO_MANY_REQUESTS)
    step = requests.filter(pl.col("at") >= step_since)
    return ArmReading(
        requests=requests.height,
        errors=requests.filter(wrong).height,
        assigned=step["unit"].drop_nulls().n_unique() + step["unit"].null_count(),
        slow=0 if slow_us is None else requests.filter(pl.col("latency_us") > slow_us).height,
        latency_us=requests["latency_us"].quantile(quantile, "higher"),
        losses=lost,
    )


def _answers(info: ModelInfo, rows: pl.DataFrame) -> tuple[Array, Scores]:
    labels = [_decode(text) for text in rows["label"]]
    kept = [number for number, label in enumerate(labels) if info.task != "regression" or _is_number(label)]
    outputs = [_decode(rows["output"][number]) for number in kept]
    if not kept:
        return np.empty(0), Scores(np.empty(0), None)
    columns = {name: [output.get(name) for output in outputs] for name in outputs[0]}
    return truth_of(info, [labels[number] for number in kept]), scores_of(info, columns)


def _sample(values: Iterable[float]) -> Sample:
    numbers = np.asarray(values, dtype=float)
    return Sample(len(numbers), float(numbers.sum()), float((numbers**2).sum()))


def _is_number(label: Any) -> bool:
    try:
        return bool(np.isfinite(float(label)))
    except (TypeError, ValueError):
        return False
