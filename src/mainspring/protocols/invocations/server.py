"""``POST /invocations`` and ``POST /endpoints/{endpoint}/invocations``, as MLflow's model server answers them."""

from __future__ import annotations

from time import perf_counter_ns
from typing import Any
from urllib.parse import unquote

import msgspec

from mainspring.core.errors import InvalidRequest, MainspringError, Unavailable, Unsupported
from mainspring.protocols.invocations.errors import refuse
from mainspring.protocols.invocations.forms import Parameters, checked, read_csv, read_json
from mainspring.runtime.http.request import Request
from mainspring.serving.engine.bodies import deflate, inflate
from mainspring.serving.engine.checking import instant_us
from mainspring.serving.engine.hot import Ask, Endpoint, unit_of
from mainspring.serving.engine.refusals import must_be
from mainspring.serving.engine.table import Table

_encode = msgspec.json.Encoder().encode


class Invocation(Ask):
    """One scoring call."""

    __slots__ = ()

    def answered(self) -> None:
        """Send the predictions: labels of a classifier (with the probabilities beside them), else the numbers."""
        outputs = {one.name: rows for one, rows in zip(self.arm.outputs, self.outputs, strict=True)}
        main = "label" if "label" in outputs else next(iter(outputs))
        answer: dict[str, Any] = {"predictions": [_single(value) for value in outputs.pop(main)]}
        answer |= {name: rows for name, rows in outputs.items() if name != "predictions"}
        body, encoding = deflate(_encode(answer), self.request.header(b"accept-encoding"))
        self.request.respond(200, body, headers=self._headers() + encoding)

    def failed(self, error: MainspringError) -> None:
        """Send the refusal."""
        refuse(self.request, error, self._headers())

    def _headers(self) -> bytes:
        told = b"x-prediction-id: %b\r\n" % self.id.encode()
        if hasattr(self, "arm"):
            told += b"x-model-version: %b\r\nx-arm: %b\r\n" % (self.arm.version.encode(), self.arm.name.encode())
        return told


def _single(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


class Invocations:
    """Answers MLflow's scoring calls from the table."""

    def __init__(self, table: Table, *, max_body_bytes: int) -> None:
        self._table, self._max_bytes = table, max_body_bytes

    def handle(self, request: Request) -> bool:
        """Answer the request if its path is one of this protocol's; gives False when it is not."""
        parts = unquote(request.path.decode("latin-1")).strip("/").split("/")
        match parts:
            case ["invocations"]:
                name = None
            case ["endpoints", name, "invocations"]:
                pass
            case ["ping"]:
                request.respond(200, b"\n", content_type=b"text/plain")
                return True
            case _:
                return False
        try:
            must_be(request, b"POST")
            self._score(request, self._endpoint(name))
        except MainspringError as refused:
            refuse(request, refused)
        return True

    def _endpoint(self, name: str | None) -> Endpoint:
        if name is not None:
            return self._table.endpoint(name)
        if len(self._table.endpoints) == 1:
            return next(iter(self._table.endpoints.values()))
        known = ", ".join(sorted(self._table.endpoints)) or "none"
        raise InvalidRequest(
            f"/invocations serves one endpoint, and here are: {known}; call /endpoints/NAME/invocations"
        )

    def _score(self, request: Request, endpoint: Endpoint) -> None:
        gate = self._table.gate
        if gate.waiting >= gate.limit:
            raise Unavailable("too many requests wait for their answer; try again in a moment")
        ask = Invocation(request, None, None, perf_counter_ns())
        ask.arm = endpoint.stable
        ask.unit = unit_of(request)
        try:
            table, parameters = self._read(request, endpoint)
            if parameters is not None:
                _understand(ask, parameters)
            arm = ask.arm = endpoint.route((ask.unit or ask.id).encode())
            if isinstance(table, dict):
                table = endpoint.filled(table, arm.layout.names, ask.event_us)
            arm.submit(ask, checked(table, arm.layout))
        except MainspringError as refused:
            ask.arm.refuse(ask, refused)

    def _read(self, request: Request, endpoint: Endpoint) -> tuple[Any, Parameters | None]:
        body, encoding = request.body, request.header(b"content-encoding")
        if encoding is not None:
            body = inflate(body, encoding, self._max_bytes)
        kind = (request.header(b"content-type") or b"application/json").partition(b";")[0].strip().lower()
        if kind == b"application/json":
            return read_json(body)
        if kind == b"text/csv":
            return read_csv(body, endpoint.stable.layout), None
        raise Unsupported(f"content-type {kind.decode('latin-1')!r} is not read; expected application/json or text/csv")


def _understand(ask: Invocation, parameters: Parameters) -> None:
    if ask.unit is None and parameters.unit is not None:
        ask.unit = str(parameters.unit)
    if parameters.event_time is not None:
        ask.event_us = instant_us(parameters.event_time)
