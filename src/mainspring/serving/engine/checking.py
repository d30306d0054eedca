"""Check what a request sends against the model's signature, before it may join a batch.

Each refusal is an InvalidRequest that names the column, what came, and what was expected.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from mainspring.core.errors import InvalidRequest
from mainspring.registry.signature import Field, Signature
from mainspring.serving.engine.datatypes import Datatype, datatype

_DEEPEST = 32
FLOAT32_MAX = 3.4028234663852886e38
_WHOLE = {"long": 2**63, "integer": 2**31}


class Tensor(msgspec.Struct, frozen=True):
    """One input as it came: *data* is a list (flat or nested), or an array of the datatype."""

    name: str
    datatype: str
    shape: Sequence[int]
    data: Any


class Output(msgspec.Struct, frozen=True):
    """One output of a model as clients see it; -1 in ``shape`` is any size."""

    name: str
    datatype: str
    shape: list[int]


class Rows(msgspec.Struct, frozen=True, gc=False):
    """Checked input of *rows* rows.

    ``values`` holds one list for each input, each of ``rows`` values; of a model that takes one matrix it is the flat
    row-major list itself. ``shape`` is set when the input may not share a model run with inputs of another shape.
    """

    rows: int
    values: Any
    shape: tuple[tuple[int, ...], ...] | None = None


class Layout:
    """The signature of a model, prepared for checking; *narrow* names the inputs that the model holds in 32 bits."""

    def __init__(self, signature: Signature, narrow: frozenset[str] = frozenset()) -> None:
        self.fields = signature.inputs
        self.names = [field.name for field in self.fields]
        self.matrix = _is_matrix(self.fields)
        self.tensor = signature.tensors
        self.fixed = any(field.shape and field.shape[0] >= 0 for field in self.fields)
        self.dynamic = self.fixed or any(field.shape and min(field.shape[1:], default=0) < 0 for field in self.fields)
        self.width = 1
        self.logged_names = self.names
        if self.matrix:
            self.width = math.prod((self.fields[0].shape or [])[1:])
            self.logged_names = [f"{self.names[0]}_{column}" for column in range(self.width)]
        self._checks = [_check_of(field, field.name in narrow) for field in self.fields]
        self._position = {name: position for position, name in enumerate(self.names)}

    def columns(self, columns: Mapping[str, list[Any]]) -> Rows:
        """Check values given by column name, as data frames and records have them."""
        counts = {len(values) for values in columns.values()}
        if len(counts) > 1:
            told = ", ".join(f"{name!r} {len(values)}" for name, values in columns.items())
            raise InvalidRequest(f"the columns have different numbers of rows: {told}; expected the same of each")
        if self.matrix and self.names[0] not in columns:
            return self.matrix_rows([list(row) for row in zip(*columns.values(), strict=True)])
        self._no_missing(columns)
        rows = self._some(counts.pop())
        if any(field.shape is not None for field in self.fields):
            return self.tensors([_column_tensor(field, columns[field.name]) for field in self.fields])
        return Rows(rows, [check(columns[name]) for name, check in zip(self.names, self._checks, strict=True)])

    def matrix_rows(self, table: Sequence[Sequence[Any]]) -> Rows:
        """Check rows without column names: their values are taken in the order of the signature."""
        self._some(len(table))
        if not self.matrix:
            width = len(self.names)
            for number, row in enumerate(table):
                if not isinstance(row, list) or len(row) != width:
                    raise InvalidRequest(
                        f"row {number} is {_said(row)}; expected a list of {width} values: {', '.join(self.names)}"
                    )
            return self.columns({name: [row[at] for row in table] for at, name in enumerate(self.names)})
        return self.tensors([nested(self.names[0], table)])

    def tensors(self, tensors: Sequence[Tensor]) -> Rows:
        """Check named tensors; columns have the shape [rows] or [rows, 1]."""
        if self.matrix and len(tensors) == 1 and tensors[0].name == self.names[0]:
            return self._matrix(tensors[0])
        self._no_missing({tensor.name for tensor in tensors})
        tensors = [tensor for tensor in tensors if tensor.name in self._position]
        if len(tensors) != len(self.names):
            raise InvalidRequest(f"{len(tensors)} inputs came, some twice; expected each once: {', '.join(self.names)}")
        values: list[Any] = [None] * len(tensors)
        shapes: list[tuple[int, ...]] = [()] * len(tensors)
        for tensor in tensors:
            at = self._position[tensor.name]
            values[at], shapes[at] = self._tensor(tensor, at), tuple(tensor.shape)
        counts = {shape[0] for shape in shapes}
        if len(counts) > 1:
            told = ", ".join(f"{name!r} {shape[0]}" for name, shape in zip(self.names, shapes, strict=True))
            raise InvalidRequest(f"the inputs have different numbers of rows: {told}; expected the same of each")
        return Rows(self._some(counts.pop()), values, tuple(shapes) if self.dynamic else None)

    def floats(self, name: str, shape: list[int], data: list[float]) -> Rows | None:
        """Check a matrix that was decoded as numbers; None when only the general check can tell what is wrong."""
        if self.matrix and len(shape) == 2 and shape[1] == self.width and name == self.names[0] and not self.dynamic:
            rows = shape[0]
            if rows > 0 and len(data) == rows * self.width:
                return Rows(rows, data)
        return None

    def refuse_not_finite(self, values: Any) -> None:
        """Raise InvalidRequest when a flat matrix has a number that the model cannot hold."""
        self._checks[0](values)

    def _matrix(self, tensor: Tensor) -> Rows:
        shape = (tuple(tensor.shape),) if self.dynamic else None
        if isinstance(tensor.data, np.ndarray) and tensor.data.dtype.kind == "f":
            _fitting_shape(self.fields[0], tensor)
            with np.errstate(over="ignore"):
                found = tensor.data.ravel().astype(
                    "float32" if self.fields[0].type == "float" else "float64", copy=False
                )
            if np.isfinite(found).all():
                return Rows(self._some(tensor.shape[0]), found, shape)
        values = self._tensor(tensor, 0)
        flat = values if isinstance(values, np.ndarray) else [number for row in values for number in row]
        rows = self._some(tensor.shape[0])
        return Rows(rows, flat, shape)

    def _tensor(self, tensor: Tensor, at: int) -> Any:
        field, kind = self.fields[at], datatype(tensor.datatype, tensor.name)
        _fits(field, kind)
        size = _fitting_shape(field, tensor)
        data = tensor.data
        if isinstance(data, np.ndarray):
            data = data.ravel().tolist()
        elif data and isinstance(data[0], list):
            data = _flat(data)
        if len(data) != math.prod(tensor.shape):
            raise InvalidRequest(
                f"input {field.name!r} came with {len(data)} values; its shape {list(tensor.shape)} needs "
                f"{math.prod(tensor.shape)}",
                column=field.name,
            )
        _in_range(kind, data, field.name)
        checked = self._checks[at](data)
        if field.shape is None:
            return checked
        return [checked[start : start + size] for start in range(0, len(checked), size)]

    def _no_missing(self, came: Any) -> None:
        """Refuse when a column is missing.

        Columns that the model does not take are ignored: the arms of an endpoint need not take the same ones, and a
        client cannot know which of them answers. A misspelt column is still found: the right one is missing.
        """
        missing = [name for name in self.names if name not in came]
        if not missing:
            return
        unknown = [name for name in came if name not in self._position]
        told = f"missing {', '.join(self._wanted(name) for name in missing[:20])}"
        if unknown:
            told += f"; unknown {', '.join(map(repr, unknown[:20]))}"
        raise InvalidRequest(
            f"columns do not match the model: {told}; expected {', '.join(self.names[:50])} "
            "(send null where a value is not known)",
            missing=missing,
            unknown=unknown,
        )

    def _wanted(self, name: str) -> str:
        field = self.fields[self._position[name]]
        return f"{name!r} ({field.type})"

    def _some(self, rows: int) -> int:
        if rows < 1:
            raise InvalidRequest("the request has no rows; expected at least one")
        return rows


def _is_matrix(fields: list[Field]) -> bool:
    if len(fields) != 1 or fields[0].shape is None or len(fields[0].shape) < 2:
        return False
    return min(fields[0].shape[1:]) > 0 and fields[0].type in ("double", "float")


def _column_tensor(field: Field, values: list[Any]) -> Tensor:
    tensor = nested(field.name, values)
    if field.shape is not None and field.shape[1:] == [1] and len(tensor.shape) == 1:
        # A graph with one input [rows, 1] for each column takes plain columns too.
        return Tensor(field.name, tensor.datatype, [*tensor.shape, 1], tensor.data)
    return tensor


def nested(name: str, data: Any) -> Tensor:
    """Describe nested lists as a tensor: the shape they have, and the datatype that their values tell."""
    shape, inner = [], data
    while isinstance(inner, list):
        shape.append(len(inner))
        inner = inner[0] if inner else None
    kinds = {bool: "BOOL", str: "BYTES", int: "INT64"}
    flat = _flat(data)
    found = {type(value) for value in flat if value is not None}
    kind = kinds[found.pop()] if len(found) == 1 and found <= set(kinds) else "FP64"
    return Tensor(name, kind, shape, flat)


def _flat(data: Any, depth: int = 0) -> list[Any]:
    if depth > _DEEPEST:
        raise InvalidRequest(f"the data are nested more than {_DEEPEST} lists deep; expected a list for each dimension")
    found: list[Any] = []
    for value in data:
        if isinstance(value, list):
            found.extend(_flat(value, depth + 1))
        else:
            found.append(value)
    return found


_FAMILIES = {
    "double": ("real", "whole"),
    "float": ("real", "whole"),
    "long": ("whole",),
    "integer": ("whole",),
    "boolean": ("truth",),
    "string": ("text",),
    "datetime": ("whole", "text"),
}
_PROTOCOL_NAMES = {
    "double": "FP64",
    "float": "FP32",
    "long": "INT64",
    "integer": "INT32",
    "boolean": "BOOL",
    "string": "BYTES",
    "datetime": "INT64",
}


def protocol_datatype(field: Field) -> str:
    """Name the protocol's datatype of a field."""
    return _PROTOCOL_NAMES[field.type]


def _is_time(field: Field) -> bool:
    return field.type == "datetime" or field.kind == "datetime"


def _fits(field: Field, kind: Datatype) -> None:
    families = _FAMILIES["datetime" if _is_time(field) else field.type]
    if kind.family not in families:
        other = " (milliseconds since 1970) or BYTES (ISO 8601 text)" if _is_time(field) else ""
        raise InvalidRequest(
            f"input {field.name!r} came as {kind.name}; expected {protocol_datatype(field)}{other}", column=field.name
        )


def _fitting_shape(field: Field, tensor: Tensor) -> int:
    """Give the number of elements of one row, or refuse the shape."""
    shape = list(tensor.shape)
    expected = [-1, *([] if len(shape) < 2 else [1])] if field.shape is None else field.shape
    same = len(shape) == len(expected) and all(
        want == have or (want < 0 <= have) for want, have in zip(expected, shape, strict=True)
    )
    if not same or not shape:
        raise InvalidRequest(
            f"input {field.name!r} came with shape {shape}; expected {[-1] if field.shape is None else expected} "
            "(-1 is the number of rows)",
            column=field.name,
        )
    return max(1, math.prod(shape[1:]))


def _in_range(kind: Datatype, data: list[Any], name: str) -> None:
    if kind.family != "whole":
        return
    for row, value in enumerate(data):
        if type(value) is int and not kind.low <= value <= kind.high:
            raise InvalidRequest(
                f"column {name!r}, row {row}: came {value}, which is no {kind.name}; "
                f"expected {kind.low} to {kind.high}",
                column=name,
            )


def _said(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)}"
    return f"the number {value}"


Check = Callable[[list[Any]], list[Any]]


def _refused(field: Field, row: int, value: Any, expected: str) -> InvalidRequest:
    return InvalidRequest(
        f"column {field.name!r}, row {row}: came {_said(value)}; expected {expected}", column=field.name, row=row
    )


def _check_of(field: Field, narrow: bool) -> Check:
    if _is_time(field):
        return _times(field)
    if field.type in ("double", "float"):
        return _numbers(field, FLOAT32_MAX if narrow or field.type == "float" else 1.7976931348623157e308)
    if field.type in _WHOLE:
        return _whole_numbers(field, _WHOLE[field.type])
    return _exactly(field, bool, "true or false") if field.type == "boolean" else _exactly(field, str, "a text")


def _or_null(field: Field, expected: str) -> str:
    return f"{expected} or null" if field.nullable else f"{expected}, not null"


def _numbers(field: Field, limit: float) -> Check:
    nullable, expected = field.nullable, _or_null(field, f"a finite number ({field.type})")

    def check(values: list[Any]) -> list[Any]:
        for row, value in enumerate(values):
            kind = type(value)
            if (kind is float or kind is int) and -limit <= value <= limit:
                continue
            missing = value is None or (kind is float and value != value)
            if not (missing and nullable):
                raise _refused(field, row, value, expected)
        return values

    return check


def _whole_numbers(field: Field, limit: int) -> Check:
    expected = _or_null(field, f"a whole number ({field.type})")

    def one(row: int, value: Any) -> int | None:
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is int and -limit <= value < limit:
            return value
        if field.nullable and (value is None or value != value):
            return None
        raise _refused(field, row, value, expected)

    return lambda values: [one(row, value) for row, value in enumerate(values)]


def _times(field: Field) -> Check:
    expected = _or_null(field, "a time: ISO 8601 text, or milliseconds since 1970-01-01 UTC")

    def one(row: int, value: Any) -> int | None:
        if type(value) is int and -(2**63) < value < 2**63:
            return value
        if value is None and field.nullable:
            return None
        if isinstance(value, datetime):
            return round(value.timestamp() * 1000)
        moment = _instant(value) if isinstance(value, str) else None
        if moment is None:
            raise _refused(field, row, value, expected)
        return moment

    return lambda values: [one(row, value) for row, value in enumerate(values)]


def _instant(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def instant_us(given: str | int) -> int:
    """Read a time that came beside the input (ISO 8601 text or milliseconds since 1970) as microseconds since 1970.

    Raises InvalidRequest when it is neither.
    """
    moment = given if isinstance(given, int) else _instant(given)
    if moment is None:
        raise InvalidRequest(f"event_time is {given!r}; expected ISO 8601 text, or milliseconds since 1970-01-01 UTC")
    return moment * 1000


def _exactly(field: Field, kind: type, what: str) -> Check:
    expected = _or_null(field, what)

    def check(values: list[Any]) -> list[Any]:
        for row, value in enumerate(values):
            if type(value) is not kind and not (value is None and field.nullable):
                raise _refused(field, row, value, expected)
        return values

    return check
