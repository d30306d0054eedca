"""``POST /v2/models/{endpoint}/infer``: read the request, hand it to the engine, write the answer."""

from __future__ import annotations

from time import perf_counter_ns
from typing import Any

import msgspec

from mainspring.core.errors import InvalidRequest, MainspringError, NotFound, Unavailable, Unsupported
from mainspring.protocols.oip.errors import refuse
from mainspring.protocols.oip.wire import (
    AnyRequest,
    FloatRequest,
    Parameters,
    RequestedOutput,
    decode_floats,
    decode_request,
)
from mainspring.runtime.http.request import Request
from mainspring.serving.engine.bodies import deflate, inflate
from mainspring.serving.engine.checking import Rows, Tensor, instant_us
from mainspring.serving.engine.datatypes import DATATYPES, to_bytes
from mainspring.serving.engine.hot import Ask, Endpoint, Gate, LoadedArm

_encode = msgspec.json.Encoder().encode
_REAL = ("FP32", "FP64", "FP16")
_BUSY = Unavailable("too many requests wait for their answer; try again in a moment")


class Inference(Ask):
    """One inference request of this protocol."""

    __slots__ = ("binary", "client_id", "request", "wanted")

    def __init__(self, request: Request, started: int) -> None:
        super().__init__(None, None, started)
        self.request = request
        self.client_id: str | None = None
        self.wanted: list[RequestedOutput] | None = None
        self.binary = False

    def answered(self) -> None:
        """Send the outputs: by the short way when nothing special was asked for."""
        wire: _Wire = self.arm.wire or _wire_of(self.arm)
        if wire.short and self.wanted is None and not self.binary and self.rows.rows == 1:
            self._short(wire)
        else:
            self._full()

    def failed(self, error: MainspringError) -> None:
        """Send the refusal."""
        refuse(self.request, error, b"x-prediction-id: %b\r\n" % self.id.encode())

    def _short(self, wire: _Wire) -> None:
        prediction = self.id.encode()
        parts = [wire.head, prediction]
        if self.client_id is None:
            parts.append(b'"},"id":"%b","outputs":[' % prediction)
        else:
            parts.append(b'"},"id":%b,"outputs":[' % _encode(self.client_id))
        for head, scalar, output in zip(wire.outputs, wire.scalars, self.outputs, strict=True):
            parts.append(head)
            parts.append(_encode(output if scalar else output[0]))
            parts.append(b"},")
        parts[-1] = b"}]}"
        self.request.respond(200, b"".join(parts), headers=b"x-prediction-id: %b\r\n" % prediction)

    def _full(self) -> None:
        arm, parts, outputs = self.arm, [], []
        for at, binary in self._chosen():
            described = arm.outputs[at]
            rows = self.outputs[at]
            entry: dict[str, Any] = {"name": described.name, "datatype": described.datatype, "shape": _shape(rows)}
            flat = _flat(rows)
            if binary:
                parts.append(to_bytes(DATATYPES[described.datatype], flat))
                entry["parameters"] = {"binary_data_size": len(parts[-1])}
            else:
                entry["data"] = flat
            outputs.append(entry)
        body = _encode(
            {
                "model_name": arm.endpoint,
                "model_version": arm.version,
                "id": self.id if self.client_id is None else self.client_id,
                "parameters": {"prediction_id": self.id, "release": arm.state.release, "arm": arm.name},
                "outputs": outputs,
            }
        )
        headers = b"x-prediction-id: %b\r\n" % self.id.encode()
        kind = b"application/json"
        if parts:
            headers += b"inference-header-content-length: %d\r\n" % len(body)
            kind = b"application/octet-stream"
            body = b"".join([body, *parts])
        body, encoding = deflate(body, self.request.header(b"accept-encoding"))
        self.request.respond(200, body, content_type=kind, headers=headers + encoding)

    def _chosen(self) -> list[tuple[int, bool]]:
        if not self.wanted:
            return [(at, self.binary) for at in range(len(self.outputs))]
        names = [output.name for output in self.arm.outputs]
        chosen = []
        for wanted in self.wanted:
            asked = wanted.parameters.binary_data if wanted.parameters else None
            chosen.append((names.index(wanted.name), self.binary if asked is None else asked))
        return chosen


class _Wire:
    """The parts of an answer that are the same for every request of an arm."""

    __slots__ = ("head", "outputs", "scalars", "short")

    def __init__(self, arm: LoadedArm) -> None:
        whole = _encode(
            {
                "model_name": arm.endpoint,
                "model_version": arm.version,
                "parameters": {"release": arm.state.release, "arm": arm.name, "prediction_id": ""},
            }
        )
        self.head = whole[: -len(b'"}}')]
        self.scalars = [len(output.shape) < 2 for output in arm.outputs]
        self.short = all(len(output.shape) <= 2 and min(output.shape[1:], default=1) > 0 for output in arm.outputs)
        self.outputs = [
            b'{"name":%b,"datatype":"%b","shape":%b,"data":'
            % (_encode(output.name), output.datatype.encode(), _encode([1, *output.shape[1:]]))
            for output in arm.outputs
        ]


def _wire_of(arm: LoadedArm) -> _Wire:
    wire = arm.wire = _Wire(arm)
    return wire


def _shape(rows: list[Any]) -> list[int]:
    shape, inner = [len(rows)], rows[0]
    while isinstance(inner, list):
        shape.append(len(inner))
        inner = inner[0] if inner else None
    return shape


def _flat(rows: list[Any]) -> list[Any]:
    while rows and isinstance(rows[0], list):
        rows = [value for row in rows for value in row]
    return rows


def infer(request: Request, endpoint: Endpoint, gate: Gate, max_bytes: int, version: str | None = None) -> None:
    """Take one inference request; it is answered now when it is refused, else when its model ran."""
    if gate.waiting >= gate.limit:
        refuse(request, _BUSY)
        return
    ask = Inference(request, perf_counter_ns())
    try:
        arm = ask.arm = endpoint.stable if version is None else endpoint.pinned(version)
    except NotFound as unknown:
        ask.failed(unknown)
        return
    try:
        parsed, tensors = _read(request, arm, max_bytes)
        ask.client_id, ask.wanted = parsed.id, parsed.outputs
        unit = request.header(b"x-mainspring-unit") or request.header(b"x-user")
        if unit is not None:
            ask.unit = unit.decode("utf-8", "replace")
        if parsed.parameters is not None:
            _understand(ask, parsed.parameters)
        if version is None and endpoint.canary is not None:
            arm = ask.arm = endpoint.route(ask.unit or ask.client_id or ask.id)
        rows = _rows(endpoint, arm, parsed, tensors)
        if ask.wanted is not None:
            _check_outputs(arm, ask.wanted)
        arm.submit(ask, rows)
    except MainspringError as refused:
        ask.arm.refuse(ask, refused)


def _read(request: Request, arm: LoadedArm, max_bytes: int) -> tuple[FloatRequest | AnyRequest, list[Tensor] | None]:
    body = request.body
    encoding = request.header(b"content-encoding")
    if encoding is not None:
        body = inflate(body, encoding, max_bytes)
    length = request.header(b"inference-header-content-length")
    if length is not None:
        if not length.isdigit() or int(length) > len(body):
            raise InvalidRequest(
                f"inference-header-content-length is {length.decode('latin-1')!r}; "
                f"expected 0 to {len(body)}, the size of the body"
            )
        return decode_request(body, int(length))
    if arm.layout.matrix:
        try:
            return decode_floats(body), None
        except msgspec.MsgspecError:
            # Not numbers alone, or not sound at all: the general reading tells which.
            pass
    return decode_request(body, None)


def _rows(endpoint: Endpoint, arm: LoadedArm, parsed: FloatRequest | AnyRequest, tensors: list[Tensor] | None) -> Rows:
    if tensors is None:
        inputs = parsed.inputs
        if len(inputs) == 1:
            one = inputs[0]
            if one.datatype in _REAL and one.data is not None:
                rows = arm.layout.floats(one.name, one.shape, one.data)
                if rows is not None:
                    return rows
        tensors = [Tensor(one.name, one.datatype, one.shape, one.data) for one in inputs]
    if endpoint.binding is None:
        return arm.layout.tensors(tensors)
    columns = {tensor.name: _column(tensor) for tensor in tensors}
    key = parsed.parameters.key if parsed.parameters else None
    if key is not None and endpoint.binding.key not in columns:
        columns[endpoint.binding.key] = [key] * max(1, *(len(values) for values in columns.values()), 1)
    return arm.layout.columns(endpoint.filled(columns, arm.layout.names))


def _column(tensor: Tensor) -> list[Any]:
    return _flat(tensor.data) if isinstance(tensor.data, list) else tensor.data.ravel().tolist()


def _understand(ask: Inference, parameters: Parameters) -> None:
    ask.binary = parameters.binary_data_output
    if ask.unit is None and parameters.unit is not None:
        ask.unit = str(parameters.unit)
    if parameters.event_time is not None:
        ask.event_us = instant_us(parameters.event_time)


def _check_outputs(arm: LoadedArm, wanted: list[RequestedOutput]) -> None:
    known = [output.name for output in arm.outputs]
    for output in wanted:
        if output.name not in known:
            raise InvalidRequest(f"the model has no output {output.name!r}; expected one of {', '.join(known)}")
        if output.parameters is not None and output.parameters.classification:
            raise Unsupported("the classification extension is not spoken here; ask for the plain output")
