"""Rows as live traffic: requests of the Open Inference Protocol, what came back, and the labels that follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import polars as pl

from mainspring.core.errors import InvalidData
from mainspring.loop.wire import Call, Reply, send_all
from mainspring.predictions.model import row_id

_LABELS_PER_CALL = 500


class Served(msgspec.Struct, frozen=True):
    """How one row was answered: its prediction id, the arm and release that answered, and the outputs; None: not."""

    id: str | None
    arm: str | None = None
    release: str | None = None
    label: Any = None
    probabilities: list[float] | None = None


class _Output(msgspec.Struct):
    name: str
    shape: list[int]
    data: list[Any]


class _Parameters(msgspec.Struct):
    prediction_id: str
    release: str
    arm: str


class _Answer(msgspec.Struct):
    parameters: _Parameters
    outputs: list[_Output]


_decode = msgspec.json.Decoder(_Answer).decode
_encode = msgspec.json.Encoder().encode


class Traffic:
    """Sends the rows of a frame to one endpoint."""

    def __init__(
        self,
        url: str,
        endpoint: str,
        columns: Sequence[str],
        *,
        key: str | None,
        connections: int = 8,
        revive: Callable[[], None] = lambda: None,
    ) -> None:
        """Send *columns* of the rows; *revive* is called when a connection broke, see `wire.send_all`."""
        self._url, self._endpoint, self._columns, self._key = url, endpoint, list(columns), key
        self._connections, self._revive = connections, revive

    def send(
        self, rows: pl.DataFrame, first: int, instants: Sequence[int] | None, per_request: int
    ) -> tuple[list[Served], list[Reply]]:
        """Send *rows* in order; *first* is the number of the first one, which is its unit when there is no key."""
        calls = list(self._calls(rows, first, instants, per_request))
        replies = send_all(self._url, calls, connections=self._connections, revive=self._revive)
        served: list[Served] = []
        for number, reply in enumerate(replies):
            count = min(per_request, rows.height - number * per_request)
            served += _served(reply, count)
        return served, replies

    def _calls(
        self, rows: pl.DataFrame, first: int, instants: Sequence[int] | None, per_request: int
    ) -> Iterator[Call]:
        path = f"/v2/models/{self._endpoint}/infer"
        columns = [(name, _datatype(rows[name]), _values(rows[name])) for name in self._columns]
        units = [str(unit) for unit in rows[self._key]] if self._key else None
        for start in range(0, rows.height, per_request):
            stop = min(start + per_request, rows.height)
            inputs = [
                {"name": name, "datatype": datatype, "shape": [stop - start], "data": values[start:stop]}
                for name, datatype, values in columns
            ]
            parameters: dict[str, Any] = {"unit": units[start] if units else f"row-{first + start}"}
            if instants is not None:
                parameters["event_time"] = instants[start] // 1000
            yield Call(path, _encode({"inputs": inputs, "parameters": parameters}))

    def post_labels(self, labels: Sequence[tuple[str, Any]]) -> list[Reply]:
        """Post what turned out to be true, by prediction id."""
        path = f"/v2/endpoints/{self._endpoint}/labels"
        parts = [labels[start : start + _LABELS_PER_CALL] for start in range(0, len(labels), _LABELS_PER_CALL)]
        calls = [Call(path, _encode({"labels": [{"id": id, "value": value} for id, value in part]})) for part in parts]
        return send_all(self._url, calls, connections=self._connections, revive=self._revive)


def first_error(replies: Sequence[Reply]) -> str | None:
    """Give what the first refused request was told, for the reader of the report."""
    refused = next((reply for reply in replies if reply.status != 200), None)
    return None if refused is None else f"{refused.status}: {refused.body[:300].decode(errors='replace')}"


def _datatype(column: pl.Series) -> str:
    dtype = column.dtype
    if dtype == pl.Boolean:
        return "BOOL"
    if dtype.is_integer():
        return "INT64"
    if dtype.is_float() or dtype.is_decimal():
        return "FP64"
    if dtype.is_temporal() or dtype in (pl.String, pl.Categorical, pl.Null):
        return "BYTES"
    raise InvalidData(f"column {column.name!r} has the type {dtype}, which cannot be sent; drop it or make it text")


def _values(column: pl.Series) -> list[Any]:
    if column.dtype == pl.Date:
        column = column.cast(pl.Datetime("us"))
    if isinstance(column.dtype, pl.Datetime):
        text = column.dt.to_string("%Y-%m-%dT%H:%M:%S%.6f")
        return (text + "Z").to_list()
    if column.dtype.is_temporal():
        return column.cast(pl.String).to_list()
    if column.dtype.is_float() or column.dtype.is_decimal():
        # JSON has no word for NaN; in a table it means that there is no value.
        return column.cast(pl.Float64).fill_nan(None).to_list()
    return column.to_list()


def _served(reply: Reply, count: int) -> list[Served]:
    if reply.status != 200:
        return [Served(None)] * count
    answer = _decode(reply.body)
    outputs = {output.name: output for output in answer.outputs}
    probabilities = outputs.get("probabilities")
    answers = next((output for output in answer.outputs if output.name != "probabilities"), None)
    width = probabilities.shape[-1] if probabilities else 0
    return [
        Served(
            row_id(answer.parameters.prediction_id, row, count),
            answer.parameters.arm,
            answer.parameters.release,
            answers.data[row] if answers else None,
            probabilities.data[row * width : (row + 1) * width] if probabilities else None,
        )
        for row in range(count)
    ]
