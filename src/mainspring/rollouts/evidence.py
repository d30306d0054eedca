"""What the arms have done, counted from the prediction log."""

from __future__ import annotations

import math
from typing import Any, Protocol

import msgspec
import numpy as np
import polars as pl

from mainspring.predictions.log import PredictionLog
from mainspring.registry.answers import scores_of, truth_of
from mainspring.registry.quality import Array, Scores, default_metric, losses, metric_named
from mainspring.registry.signature import ModelInfo
from mainspring.rollouts.model import ArmReading, Asked, Reading
from mainspring.rollouts.sequential import Clusters, Sample

TOO_MANY_REQUESTS = 429
_ID_LENGTH = 26
_NO_VALUES = pl.DataFrame(schema={"unit": pl.String, "value": pl.Float64})
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

    def read(self, endpoint: str, asked: Asked) -> Reading:
        """Count what both releases have answered; see `rollouts.service.ArmStatistics`."""
        rows = self._predictions.read(endpoint, asked.since, columns={}).rows
        # The rows of one request share the first characters of their ids; a request that names no unit is its own.
        rows = rows.with_columns(pl.col("prediction_id").str.slice(0, _ID_LENGTH).alias("request"))
        arms = [rows.filter(pl.col("release") == release) for release in (asked.stable, asked.canary)]
        stable, canary = [_reading(arm, lost, asked) for arm, lost in zip(arms, self._losses(*arms), strict=True)]
        return Reading(stable=stable, canary=canary)

    def _losses(self, *arms: pl.DataFrame) -> list[pl.DataFrame]:
        """Give the loss of each labelled row with its unit; none at all while an arm has no label yet."""
        labelled = [rows.filter(pl.col("label").is_not_null(), pl.col("output").is_not_null()) for rows in arms]
        if not all(rows.height for rows in labelled):
            return [_NO_VALUES for _ in arms]
        infos = [self._registry.resolve(rows["model"][0]).info for rows in labelled]
        if any(info.task is None for info in infos):
            return [_NO_VALUES for _ in arms]
        labelled = [_with_sound_labels(info, rows) for info, rows in zip(infos, labelled, strict=True)]
        answers = [_answers(info, rows) for info, rows in zip(infos, labelled, strict=True)]
        metric = infos[0].metric or default_metric(infos[0].task or "binary")
        if metric_named(metric).needs_probabilities and any(scores.probabilities is None for _, scores in answers):
            metric = "accuracy"
        return [
            _values(rows, np.asarray(losses(metric, truth, scores), dtype=float))
            for rows, (truth, scores) in zip(labelled, answers, strict=True)
        ]


def _reading(rows: pl.DataFrame, lost: pl.DataFrame, asked: Asked) -> ArmReading:
    # The rows of a request share its latency and its status.
    requests = rows.group_by("request").agg(pl.col("status", "latency_us", "unit", "at").first())
    wrong = (pl.col("status") >= 400) & (pl.col("status") != TOO_MANY_REQUESTS)
    failed = _values(requests, requests.select(wrong).to_series().to_numpy())
    slow = _values(requests, (requests["latency_us"] > (asked.slow_us or math.inf)).to_numpy())
    step = requests.filter(pl.col("at") >= asked.step_since)
    return ArmReading(
        requests=requests.height,
        errors=int(failed["value"].sum()),
        assigned=step["unit"].drop_nulls().n_unique() + step["unit"].null_count(),
        slow=int(slow["value"].sum()),
        latency_us=requests["latency_us"].quantile(asked.quantile, "higher"),
        losses=_sample(lost),
        clusters={"errors": _clusters(failed), "latency": _clusters(slow), "quality": _clusters(lost)},
    )


def _values(rows: pl.DataFrame, values: Array) -> pl.DataFrame:
    """Give a value for each row, with the unit that it belongs to."""
    units = rows.select(pl.coalesce("unit", "request").alias("unit"))
    return units.with_columns(pl.Series("value", values, dtype=pl.Float64))


def _sample(values: pl.DataFrame) -> Sample:
    numbers = values["value"]
    return Sample(len(numbers), float(numbers.sum()), float((numbers**2).sum()))


def _clusters(values: pl.DataFrame) -> Clusters:
    units = values.group_by("unit").agg(pl.len().cast(pl.Float64).alias("n"), pl.col("value").sum().alias("t"))
    n, t = units["n"], units["t"]
    return Clusters(
        units.height, float((t / n).sum()), float((n * n).sum()), float((n * t).sum()), float((t * t).sum())
    )


def _with_sound_labels(info: ModelInfo, rows: pl.DataFrame) -> pl.DataFrame:
    if info.task != "regression":
        return rows
    return rows.filter(pl.Series([_is_number(_decode(text)) for text in rows["label"]], dtype=pl.Boolean))


def _answers(info: ModelInfo, rows: pl.DataFrame) -> tuple[Array, Scores]:
    if rows.is_empty():
        return np.empty(0), Scores(np.empty(0), None)
    outputs = [_decode(text) for text in rows["output"]]
    columns = {name: [output.get(name) for output in outputs] for name in outputs[0]}
    return truth_of(info, [_decode(text) for text in rows["label"]]), scores_of(info, columns)


def _is_number(label: Any) -> bool:
    try:
        return bool(np.isfinite(float(label)))
    except (TypeError, ValueError):
        return False
