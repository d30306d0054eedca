"""Facts of the spool as rows of tables, and rows of tables as typed columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import polars as pl

from mainspring.predictions.model import LabelFact, PredictionBatch, PredictionItem, row_id

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NULL_LONG = -(2**63)  # how a null of an int64 input reaches a model

_INSTANT = pl.Datetime("us", "UTC")
LOG_SCHEMA: dict[str, pl.DataType] = {
    "prediction_id": pl.String(),
    "at": _INSTANT,
    "endpoint": pl.String(),
    "model": pl.String(),
    "release": pl.String(),
    "arm": pl.String(),
    "unit": pl.String(),
    "event_time": _INSTANT,
    "latency_us": pl.Int64(),
    "status": pl.Int16(),
    "features": pl.String(),
    "output": pl.String(),
    "score": pl.Float64(),
    "batch": pl.Int32(),
    "error": pl.String(),
    "mark": pl.Int64(),
}
LABEL_SCHEMA: dict[str, pl.DataType] = {
    "prediction_id": pl.String(),
    "label": pl.String(),
    "at": _INSTANT,
    "mark": pl.Int64(),
}
_TYPES: dict[str, pl.DataType] = {
    "double": pl.Float64(),
    "float": pl.Float64(),
    "long": pl.Int64(),
    "integer": pl.Int64(),
    "boolean": pl.Boolean(),
    "string": pl.String(),
}


def log_frame(batches: Sequence[PredictionBatch], mark: int) -> pl.DataFrame:
    """Give the rows of the prediction log: one for each row of each request, one for a request that failed."""
    rows = [row for batch in batches for item in batch.items for row in _item_rows(batch, item, mark)]
    return pl.DataFrame(rows, schema=LOG_SCHEMA, orient="row")


def label_frame(facts: Sequence[LabelFact], mark: int) -> pl.DataFrame:
    """Give the rows of the table of labels."""
    rows = [(fact.id, _encode(fact.value).decode(), _instant(fact.at_us), mark) for fact in facts]
    return pl.DataFrame(rows, schema=LABEL_SCHEMA, orient="row")


def feature_columns(texts: Sequence[str], columns: Mapping[str, str] | None) -> pl.DataFrame:
    """Give JSON objects as columns of the types *columns* names (a signature's); None infers names and types.

    An empty mapping gives an empty frame without reading the texts.

    A value that is not of its column's type becomes text when the column is text, else null. ``datetime`` columns take
    ISO 8601 text or milliseconds since 1970 UTC, and become naive timestamps in UTC.
    """
    if columns is not None and not columns:
        return pl.DataFrame()
    rows = [_decode(text) for text in texts]
    if columns is None:
        names = dict.fromkeys(name for row in rows for name in row)
        return pl.DataFrame([pl.Series(name, [row.get(name) for row in rows], strict=False) for name in names])
    return pl.DataFrame([_column(name, kind, [row.get(name) for row in rows]) for name, kind in columns.items()])


def _column(name: str, kind: str, values: list[Any]) -> pl.Series:
    if kind == "datetime":
        return _datetimes(name, values)
    if kind == "string":
        texts = [value if value is None or isinstance(value, str) else _encode(value).decode() for value in values]
        return pl.Series(name, texts, dtype=pl.String)
    if kind in ("long", "integer"):
        values = [None if value == _NULL_LONG else value for value in values]
        # A whole column read through floats would lose digits of large ids; only mixed ones take that way.
        if any(isinstance(value, float) for value in values):
            return pl.Series(name, values, dtype=pl.Float64, strict=False)
    return pl.Series(name, values, dtype=_TYPES.get(kind, pl.Float64()), strict=False)


def _datetimes(name: str, values: list[Any]) -> pl.Series:
    parsed = [_parse_instant(value) for value in values]
    return pl.Series(name, parsed, dtype=pl.Datetime("us"))


def _parse_instant(value: Any) -> datetime | None:
    try:
        if isinstance(value, str):
            found = datetime.fromisoformat(value)
            return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found
        if isinstance(value, int | float) and value != _NULL_LONG:
            return (_EPOCH + timedelta(milliseconds=value)).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None
    return None


def _item_rows(batch: PredictionBatch, item: PredictionItem, mark: int) -> Iterator[tuple[Any, ...]]:
    shared = (_instant(item.at_us), batch.endpoint, batch.model, batch.release, batch.arm, item.unit)
    event = None if item.event_us is None else _instant(item.event_us)
    tail = (item.rows, item.error, mark)
    if item.status >= 400 or not item.outputs:
        yield (item.id, *shared, event, item.latency_us, item.status, "{}", None, None, *tail)
        return
    features = _features(batch.names, item)
    for row in range(item.rows):
        output = {name: values[row] for name, values in zip(batch.output_names, item.outputs, strict=True)}
        text = _encode(features[row]).decode()
        identity = row_id(item.id, row, item.rows)
        answer = (text, _encode(output).decode(), score_of(output))
        yield (identity, *shared, event, item.latency_us, item.status, *answer, *tail)


def _features(names: list[str], item: PredictionItem) -> list[dict[str, Any]]:
    if item.values and not isinstance(item.values[0], list):
        width = len(names)
        starts = range(0, item.rows * width, width)
        return [dict(zip(names, item.values[start : start + width], strict=True)) for start in starts]
    if not item.values:
        return [{} for _ in range(item.rows)]
    return [dict(zip(names, row, strict=True)) for row in zip(*item.values, strict=True)]


def score_of(output: Mapping[str, Any]) -> float | None:
    """Give the number that stands for an answer: a prediction, the chance of the second of two classes, the highest."""
    chances = output.get("probabilities")
    if isinstance(chances, list) and chances:
        return float(chances[1]) if len(chances) == 2 else float(max(chances))
    for value in output.values():
        single = value[0] if isinstance(value, list) and len(value) == 1 else value
        if isinstance(single, int | float):
            return float(single)
    return None


def _instant(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)
