"""What a model takes and gives: its signature, MLflow's text of it, and the facts kept beside the model.

Only msgspec is imported, so that the data plane can read a model's facts without anything else.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from mainspring.core.errors import InvalidData, Unsupported

ColumnType = Literal["double", "float", "long", "integer", "boolean", "string", "datetime"]
Kind = Literal["numeric", "categorical", "datetime", "boolean"]
Task = Literal["binary", "multiclass", "regression"]
Engine = Literal["onnx", "process"]

INFO_FILE = "mainspring.json"

_TENSOR_TYPES: dict[str, ColumnType] = {
    "float64": "double",
    "float32": "float",
    "int64": "long",
    "int32": "integer",
    "bool": "boolean",
    "str": "string",
    "object": "string",
}
_DTYPES: dict[ColumnType, str] = {
    "double": "float64",
    "float": "float32",
    "long": "int64",
    "integer": "int32",
    "boolean": "bool",
    "string": "object",
    "datetime": "int64",
}


class Field(msgspec.Struct, frozen=True, omit_defaults=True):
    """One named input or output.

    ``shape`` is None for a column (one value per row); a tensor has its shape, -1 where any size is taken.
    ``kind`` says what a column means to the model: a ``datetime`` column of type ``long`` holds milliseconds since
    1970-01-01 UTC. ``levels`` are the values a categorical column had in training, most frequent first.
    """

    name: str
    type: ColumnType
    nullable: bool = True
    shape: list[int] | None = None
    kind: Kind | None = None
    levels: list[str] | None = None


class Signature(msgspec.Struct, frozen=True):
    """The inputs and outputs of a model, in order."""

    inputs: list[Field]
    outputs: list[Field]

    @property
    def tensors(self) -> bool:
        """Tell whether the inputs are tensors rather than the columns of a table."""
        return any(field.shape is not None for field in self.inputs)


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What ``mainspring.json`` in a model's folder says about the model.

    How a null of a column reaches an ONNX graph: a float input as NaN, a string input as ``""``, an int64 input (dates)
    as ``NULL_LONG``. A column of type ``boolean`` whose graph input is float goes in as 1, 0 or NaN.
    ``classes`` are the labels in the order of the columns of ``probabilities``; of two, the second is the positive one.
    """

    signature: Signature
    task: Task | None = None
    engine: Engine = "onnx"
    classes: list[str | int] | None = None
    metric: str | None = None
    metrics: dict[str, float] = {}
    target: str | None = None
    time: str | None = None
    trained_on: list[str] = []
    rows: int | None = None
    parameters: dict[str, Any] = {}
    dropped: dict[str, str] = {}
    notes: list[str] = []


NULL_LONG = -(2**63)


class _Tensor(msgspec.Struct):
    dtype: str
    shape: list[int]


class _Entry(msgspec.Struct, rename={"tensor_spec": "tensor-spec"}, omit_defaults=True):
    type: str
    name: str | None = None
    required: bool | None = None
    optional: bool | None = None
    tensor_spec: _Tensor | None = None


_entries = msgspec.json.Decoder(list[_Entry])
_info = msgspec.json.Decoder(ModelInfo)


def encode_fields(fields: list[Field], *, outputs: bool = False) -> str:
    """Give MLflow's JSON text of a list of inputs, or of *outputs* (which MLflow always calls required)."""
    return msgspec.json.encode([_entry(field, outputs) for field in fields]).decode()


def decode_fields(text: str | bytes) -> list[Field]:
    """Read MLflow's JSON text of a list of inputs or outputs.

    Raises InvalidData when the text is malformed, Unsupported when a column has a type that no table column can have.
    """
    try:
        entries = _entries.decode(text)
    except msgspec.DecodeError as error:
        raise InvalidData(f"the model's signature is malformed: {error}; save the model again with MLflow") from None
    return [_field(number, entry) for number, entry in enumerate(entries)]


def encode_signature(signature: Signature) -> dict[str, str | None]:
    """Give the ``signature`` mapping of an MLmodel file."""
    return {
        "inputs": encode_fields(signature.inputs),
        "outputs": encode_fields(signature.outputs, outputs=True) if signature.outputs else None,
        "params": None,
    }


def decode_signature(mapping: dict[str, Any]) -> Signature:
    """Read the ``signature`` mapping of an MLmodel file; errors as of decode_fields."""
    inputs, outputs = mapping.get("inputs"), mapping.get("outputs")
    return Signature(decode_fields(inputs) if inputs else [], decode_fields(outputs) if outputs else [])


def encode_info(info: ModelInfo) -> bytes:
    """Give the bytes of ``mainspring.json``."""
    return msgspec.json.format(msgspec.json.encode(info), indent=1)


def decode_info(data: bytes) -> ModelInfo:
    """Read the bytes of ``mainspring.json``; raises InvalidData when they are malformed."""
    try:
        return _info.decode(data)
    except msgspec.DecodeError as error:
        raise InvalidData(f"{INFO_FILE} of the model is malformed: {error}; register the model again") from None


def _entry(field: Field, output: bool) -> _Entry:
    if field.shape is not None:
        return _Entry("tensor", field.name, tensor_spec=_Tensor(_DTYPES[field.type], field.shape))
    return _Entry(field.type, field.name, required=output or not field.nullable)


def _field(number: int, entry: _Entry) -> Field:
    name = str(number) if entry.name is None else entry.name
    if entry.type == "tensor" and entry.tensor_spec is not None:
        kind = _TENSOR_TYPES.get(entry.tensor_spec.dtype)
        if kind is None:
            raise _unsupported(name, entry.tensor_spec.dtype)
        return Field(name, kind, nullable=False, shape=entry.tensor_spec.shape)
    if entry.type not in _DTYPES:
        raise _unsupported(name, entry.type)
    required = not entry.optional if entry.required is None else entry.required
    return Field(name, msgspec.convert(entry.type, ColumnType), nullable=not required)


def _unsupported(name: str, kind: str) -> Unsupported:
    known = ", ".join(_DTYPES)
    return Unsupported(
        f"the model's column {name!r} has type {kind!r}, which cannot be served; expected one of {known}", column=name
    )
