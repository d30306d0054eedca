"""The JSON of the Open Inference Protocol, and the raw tensors that may follow it."""

from __future__ import annotations

from typing import Any

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.serving.engine.bodies import why_malformed
from mainspring.serving.engine.checking import Tensor
from mainspring.serving.engine.datatypes import datatype, from_bytes


class Parameters(msgspec.Struct):
    """The request parameters that are understood; others are let be, as the protocol asks."""

    unit: str | int | None = None
    event_time: str | int | None = None
    key: str | int | None = None
    binary_data_output: bool = False


class InputParameters(msgspec.Struct):
    """The parameters of one input: the size of its raw bytes, when they follow the JSON."""

    binary_data_size: int | None = None


class OutputParameters(msgspec.Struct):
    """The parameters of one requested output."""

    binary_data: bool | None = None
    classification: int | None = None


class RequestedOutput(msgspec.Struct):
    """An output that the client asks for by name."""

    name: str
    parameters: OutputParameters | None = None


class FloatInput(msgspec.Struct):
    """An input whose data are numbers; reading them as such is what makes the common request cheap."""

    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class AnyInput(msgspec.Struct):
    """An input of any datatype; ``data`` may be nested, and is absent when the bytes follow the JSON."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | None = None
    parameters: InputParameters | None = None


class FloatRequest(msgspec.Struct):
    """An inference request with numbers only."""

    inputs: list[FloatInput]
    id: str | None = None
    parameters: Parameters | None = None
    outputs: list[RequestedOutput] | None = None


class AnyRequest(msgspec.Struct):
    """An inference request."""

    inputs: list[AnyInput]
    id: str | None = None
    parameters: Parameters | None = None
    outputs: list[RequestedOutput] | None = None


decode_floats = msgspec.json.Decoder(FloatRequest).decode
_decode_any = msgspec.json.Decoder(AnyRequest).decode


def decode_request(body: bytes, header_bytes: int | None) -> tuple[AnyRequest, list[Tensor]]:
    """Read a request; *header_bytes* is the length of its JSON when raw tensors follow.

    Raises InvalidRequest when it is malformed.
    """
    json_part = body if header_bytes is None else body[:header_bytes]
    try:
        request = _decode_any(json_part)
    except (msgspec.MsgspecError, RecursionError) as malformed:
        raise InvalidRequest(f"the request is no inference request: {why_malformed(malformed, json_part)}") from None
    raw = memoryview(body)[len(json_part) :]
    tensors, at = [], 0
    for given in request.inputs:
        tensor, at = _tensor(given, raw, at)
        tensors.append(tensor)
    if at != len(raw):
        raise InvalidRequest(f"{len(raw)} bytes follow the JSON, but the inputs' binary_data_size add up to {at}")
    return request, tensors


def _tensor(given: AnyInput, raw: memoryview, at: int) -> tuple[Tensor, int]:
    size = given.parameters.binary_data_size if given.parameters else None
    if size is None:
        if given.data is None:
            raise InvalidRequest(
                f"input {given.name!r} has no data; expected 'data', or binary_data_size", column=given.name
            )
        return Tensor(given.name, given.datatype, given.shape, given.data), at
    if size < 0 or at + size > len(raw):
        raise InvalidRequest(
            f"input {given.name!r} says {size} raw bytes, but {len(raw) - at} are left after the JSON",
            column=given.name,
        )
    count = 1
    for extent in given.shape:
        if extent < 0:
            raise InvalidRequest(f"input {given.name!r} came with shape {given.shape}; no size can be negative")
        count *= extent
    found = from_bytes(datatype(given.datatype, given.name), raw[at : at + size], count, given.name)
    return Tensor(given.name, given.datatype, given.shape, found), at + size


class TensorMetadata(msgspec.Struct, frozen=True):
    """One input or output of a model, as metadata."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(msgspec.Struct, frozen=True):
    """What a model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ServerMetadata(msgspec.Struct, frozen=True):
    """What this server is."""

    name: str
    version: str
    extensions: list[str]


class IndexEntry(msgspec.Struct, frozen=True):
    """One model version of the repository index."""

    name: str
    version: str
    state: str
    reason: str
