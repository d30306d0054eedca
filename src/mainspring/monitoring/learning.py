"""Learn a reference: the columns from training rows, predictions and quality from rows held out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import polars as pl

from mainspring.core.errors import InvalidData
from mainspring.core.ids import new_id
from mainspring.monitoring.answers import prediction_column, scores_of, truth_of
from mainspring.monitoring.model import Profile, Quality, Reference, Settings
from mainspring.monitoring.profile import profile_column, profile_frame, with_shares
from mainspring.monitoring.quality import quality_of
from mainspring.registry.quality import default_metric
from mainspring.registry.signature import Field, ModelInfo


class Scored(msgspec.Struct, frozen=True):
    """What a model answered on rows that it was not fitted to, and the labels of those rows, in the order of time.

    ``outputs`` are as a session gives them: arrays (or lists) by output name. ``fitted`` are the answers to the rows of
    the frame, which the model was fitted to: there are more of them, and how alike neighbours are they tell as well.
    """

    outputs: Mapping[str, Any]
    truth: Sequence[Any]
    fitted: Mapping[str, Any] | None = None


def learn(
    frame: pl.DataFrame,
    info: ModelInfo,
    scored: Scored | None,
    *,
    endpoint: str,
    release: str,
    model: str | None,
    dataset: str | None,
    settings: Settings,
    ordered: bool,
    at: datetime,
) -> Reference:
    """Learn what is normal; raises InvalidData for an empty frame, or answers that do not fit the task."""
    if frame.is_empty():
        raise InvalidData("a reference needs rows: the frame is empty; give the rows that the model was trained on")
    columns_of_model = [field for field in info.signature.inputs if field.shape is None]
    watched = [field for field in columns_of_model if field.name in frame.columns]
    names = [field.name for field in watched] or [name for name in frame.columns if name != info.target]
    notes = [f"the frame has no column {f.name}" for f in columns_of_model if f.name not in frame.columns]
    notes += [f"{f.name} is a tensor: not watched" for f in info.signature.inputs if f.shape is not None]
    columns = profile_frame(_as_logged(frame.select(names), watched), ordered=ordered, ignore=settings.ignore)
    predictions, quality = _outcome(info, scored, settings, ordered, notes)
    return Reference(
        id=new_id(),
        endpoint=endpoint,
        release=release,
        model=model,
        dataset=dataset,
        at=at,
        rows=frame.height,
        settings=settings,
        types={field.name: _type(field) for field in watched if field.name not in settings.ignore},
        task=info.task,
        classes=info.classes,
        columns=columns,
        predictions=predictions,
        quality=quality,
        notes=notes,
    )


def _outcome(
    info: ModelInfo, scored: Scored | None, settings: Settings, ordered: bool, notes: list[str]
) -> tuple[Profile | None, Quality | None]:
    if scored is None or info.task is None or not len(scored.truth):
        notes.append("predictions and performance are not watched: no answers on held-out rows were given")
        return None, None
    scores = scores_of(scored.outputs, info.task, info.classes)
    truth = truth_of(list(scored.truth), info.task, info.classes)
    if len(scores.label) != len(truth):
        raise InvalidData(f"{len(scores.label)} answers and {len(truth)} labels: give one label for each answer")
    predictions = profile_column(prediction_column(scores, info.task, info.classes), ordered=ordered)
    if scored.fitted is not None and ordered:
        fitted = prediction_column(scores_of(scored.fitted, info.task, info.classes), info.task, info.classes)
        predictions = with_shares(predictions, fitted.drop_nulls())
    metric = info.metric or default_metric(info.task)
    try:
        quality = quality_of(metric, info.task, truth, scores, skill=settings.effects.skill, ordered=ordered)
    except InvalidData as undefined:
        notes.append(f"performance is not watched: {undefined}")
        quality = None
    return predictions, quality


def _as_logged(frame: pl.DataFrame, fields: list[Field]) -> pl.DataFrame:
    """Give dates that the model takes as milliseconds as dates, as the log gives them."""
    dates = [f.name for f in fields if _type(f) == "datetime" and frame.schema[f.name].is_integer()]
    return frame.with_columns(pl.from_epoch(pl.col(name), time_unit="ms") for name in dates)


def _type(field: Field) -> str:
    return "datetime" if field.kind == "datetime" else field.type
