"""``POST /v2/models/{endpoint}/infer``: read the request, hand it to the engine, write the answer."""

from __future__ import annotations

from time import perf_counter_ns
from typing import Any

import msgspec

from mainspring.core.errors import InvalidRequest, MainspringError, MethodNotAllowed, NotFound, Unavailable, Unsupported
from mainspring.core.ids import new_id
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
from mainspring.serving.engine.hot import UNIT_HEADERS, Ask, Endpoint, Gate, LoadedArm, unit_of
from mainspring.serving.engine.refusals import must_be

_encode = msgspec.json.Encoder().encode
# Stands where the answers of an arm differ from request to request.
_HOLE = "\x7f\x7f"
_REAL = ("FP32", "FP64", "FP16")
_SPECIAL = (b"content-encoding", b"inference-header-content-length")
_BUSY = Unavailable("too many requests wait for their answer; try again in a moment")


class Inference(Ask):
    """One inference request of this protocol."""

    __slots__ = ("binary", "client_id", "wanted")

    def __init__(self, request: Request, started: int, unit: str | None = None, client_id: str | None = None) -> None:
        # One level, not a call of the parent's: this runs for every request.
        self.id = new_id()
        self.unit = unit
        self.event_us = None
        self.started = started
        self.request = request
        self.client_id = client_id
        self.wanted: list[RequestedOutput] | None = None
        self.binary = False

    def answered(self) -> None:
        """Send the outputs: by the short way when nothing special was asked for."""
        wire: _Wire = self.arm.wire or _wire_of(self.arm)
        if not (wire.short and self.wanted is None and not self.binary and self.rows.rows == 1):
            self._full()
            return
        prediction = self.id.encode()
        told = [_encode(rows if scalar else rows[0]) for rows, scalar in zip(self.outputs, wire.scalars, strict=True)]
        client_id = self.client_id
        shown = b'"%b"' % prediction if client_id is None else _encode(client_id)
        body = wire.template % (prediction, shown, *told)
        self.request.respond(200, body, headers=b"x-prediction-id: %b\r\n" % prediction)

    def failed(self, error: MainspringError) -> None:
        """Send the refusal."""
        refuse(self.request, error, b"x-prediction-id: %b\r\n" % self.id.encode())

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

    __slots__ = ("scalars", "short", "template")

    def __init__(self, arm: LoadedArm) -> None:
        whole = _encode(
            {
                "model_name": arm.endpoint,
                "model_version": arm.version,
                "parameters": {"release": arm.state.release, "arm": arm.name, "prediction_id": _HOLE},
                "id": _HOLE + _HOLE,
                "outputs": [
                    {"name": one.name, "datatype": one.datatype, "shape": [1, *one.shape[1:]], "data": _HOLE + _HOLE}
                    for one in arm.outputs
                ],
            }
        )
        whole = whole.replace(b"%", b"%%")
        hole = _HOLE.encode()
        self.template = whole.replace(b'"%b%b"' % (hole, hole), b"%b").replace(hole, b"%b")
        self.scalars = [len(output.shape) < 2 for output in arm.outputs]
        told = (arm.endpoint, arm.state.release, *(output.name for output in arm.outputs))
        self.short = not any(_HOLE[0] in text for text in told) and all(
            len(output.shape) <= 2 and min(output.shape[1:], default=1) > 0 for output in arm.outputs
        )


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


class Places(msgspec.Struct, frozen=True):
    """Where in the fields of a header the unit stands (-1: nowhere), and whether a header asks for the long way."""

    unit: int
    special: bool


_places: dict[tuple[bytes, ...], Places] = {}


def _places_of(names: tuple[bytes, ...]) -> Places:
    lower = [name.lower() for name in names]
    units = [lower.index(name) for name in UNIT_HEADERS if name in lower]
    special = any(name in lower for name in _SPECIAL) or any(lower.count(name) > 1 for name in UNIT_HEADERS)
    if len(_places) >= 1000:
        _places.clear()
    found = _places[names] = Places(2 * units[0] + 1 if units else -1, special)
    return found


class EndpointInference:
    """The inference call of one endpoint: the common request in one go, everything else by `infer`.

    Common is: one matrix of numbers as JSON, no parameters, the default outputs.
    """

    __slots__ = ("_endpoint", "_gate", "_max_bytes")

    def __init__(self, endpoint: Endpoint, gate: Gate, max_bytes: int) -> None:
        self._endpoint, self._gate, self._max_bytes = endpoint, gate, max_bytes

    def take(self, request: Request) -> None:
        """Take one request."""
        started = perf_counter_ns()
        gate, endpoint, fields = self._gate, self._endpoint, request.fields
        places = _places.get(request.names) or _places_of(request.names)
        if places.special or not endpoint.common or gate.waiting >= gate.limit or request.method != b"POST":
            infer(request, endpoint, gate, self._max_bytes)
            return
        try:
            parsed = decode_floats(request.body)
        except (msgspec.MsgspecError, RecursionError):
            infer(request, endpoint, gate, self._max_bytes)
            return
        unit = fields[places.unit].strip() if places.unit >= 0 else b""
        ask = Inference(request, started, unit.decode("utf-8", "replace") if unit else None, parsed.id)
        arm = endpoint.stable
        if endpoint.canary is not None:
            # Those who send it as a parameter, or the long way, are dealt by the same bytes.
            arm = endpoint.route(unit if unit and unit.isascii() else (ask.unit or parsed.id or ask.id).encode())
        rows = _common(parsed, arm)
        if rows is None:
            infer(request, endpoint, gate, self._max_bytes)
            return
        ask.arm = arm
        try:
            arm.submit(ask, rows)
        except MainspringError as refused:
            arm.refuse(ask, refused)


def _common(parsed: FloatRequest, arm: LoadedArm) -> Rows | None:
    inputs = parsed.inputs
    if len(inputs) != 1 or parsed.parameters is not None or parsed.outputs is not None:
        return None
    tensor = inputs[0]
    if tensor.datatype not in _REAL:
        return None
    return arm.layout.floats(tensor.name, tensor.shape, tensor.data)


def infer(request: Request, endpoint: Endpoint, gate: Gate, max_bytes: int, version: str | None = None) -> None:
    """Take one inference request; it is answered now when it is refused, else when its model ran."""
    if gate.waiting >= gate.limit:
        refuse(request, _BUSY)
        return
    ask = Inference(request, perf_counter_ns())
    try:
        must_be(request, b"POST")
        arm = ask.arm = endpoint.stable if version is None else endpoint.pinned(version)
    except (MethodNotAllowed, NotFound) as unheard:
        ask.failed(unheard)
        return
    try:
        parsed, tensors = _read(request, arm, max_bytes)
        ask.client_id, ask.wanted = parsed.id, parsed.outputs
        ask.unit = unit_of(request)
        if parsed.parameters is not None:
            _understand(ask, parsed.parameters)
        if version is None and endpoint.canary is not None:
            arm = ask.arm = endpoint.route((ask.unit or ask.client_id or ask.id).encode())
        rows = _rows(endpoint, ask, parsed, tensors)
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
        except (msgspec.MsgspecError, RecursionError):
            # Not numbers alone, or not sound at all: the general reading tells which.
            pass
    return decode_request(body, None)


def _rows(endpoint: Endpoint, ask: Inference, parsed: FloatRequest | AnyRequest, tensors: list[Tensor] | None) -> Rows:
    arm = ask.arm
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
    return arm.layout.columns(endpoint.filled(columns, arm.layout.names, ask.event_us))


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
