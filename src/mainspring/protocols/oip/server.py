"""The calls of the Open Inference Protocol over REST, and Mainspring's own beside them: labels and online features.

A model of the protocol is an endpoint here, and its versions are the model versions that the endpoint has loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote

import msgspec

from mainspring.core.errors import InvalidRequest, MainspringError, NotFound, Unavailable
from mainspring.protocols.oip.errors import refuse
from mainspring.protocols.oip.infer import EndpointInference, infer
from mainspring.protocols.oip.wire import IndexEntry, ModelMetadata, ServerMetadata, TensorMetadata
from mainspring.runtime.http.request import Request
from mainspring.serving.engine.checking import protocol_datatype
from mainspring.serving.engine.hot import LoadedArm
from mainspring.serving.engine.refusals import must_be
from mainspring.serving.engine.table import Table
from mainspring.serving.features import FeatureAnswer
from mainspring.serving.labels import label_facts
from mainspring.version import __version__

EXTENSIONS = ["binary_tensor_data", "model_repository"]

_READ = (b"GET", b"HEAD")

Answer = Callable[[Request], None]

_encode = msgspec.json.Encoder().encode


class Keys(msgspec.Struct, frozen=True):
    """The keys whose features are asked for."""

    keys: list[str | int | bool | list[str | int | bool]]


class Accepted(msgspec.Struct, frozen=True):
    """How many labels are on disk now."""

    accepted: int


class OpenInference:
    """Answers the protocol's calls from the table; ``paths`` has the inference calls, ready by their whole path."""

    def __init__(self, table: Table, *, max_body_bytes: int) -> None:
        self._table, self._max_bytes = table, max_body_bytes
        self.paths: dict[bytes, Answer] = {}
        table.changed.append(self._prepare)
        self._prepare()

    def handle(self, request: Request) -> bool:
        """Answer the request if its path is one of this protocol's; gives False when it is not."""
        path = unquote(request.path.decode("latin-1"))
        parts = path.strip("/").split("/")
        if parts[0] != "v2":
            return False
        try:
            self._answer(request, parts[1:])
        except MainspringError as refused:
            refuse(request, refused)
        return True

    def _prepare(self) -> None:
        gate, limit = self._table.gate, self._max_bytes
        self.paths = {
            b"/v2/models/%b/infer" % name.encode(): EndpointInference(endpoint, gate, limit).take
            for name, endpoint in self._table.endpoints.items()
        }

    def _answer(self, request: Request, parts: list[str]) -> None:
        match parts:
            case []:
                must_be(request, *_READ)
                _json(request, ServerMetadata("mainspring", __version__, EXTENSIONS))
            case ["health", "live"]:
                must_be(request, *_READ)
                _json(request, {"live": True})
            case ["health", "ready"]:
                must_be(request, *_READ)
                self._server_ready(request)
            case ["repository", "index"]:
                # A POST in Triton's extension; a GET is what a browser sends.
                must_be(request, b"POST", *_READ)
                _json(request, self._index())
            case ["models", name, *rest]:
                self._model(request, name, rest)
            case ["endpoints", name, "labels"]:
                must_be(request, b"POST")
                self._labels(request, name)
            case ["features", view, "online"]:
                must_be(request, b"POST")
                self._features(request, view)
            case _:
                raise NotFound(f"there is nothing at /v2/{'/'.join(parts)}; see the Open Inference Protocol, version 2")

    def _server_ready(self, request: Request) -> None:
        if self._table.version < 0:
            raise Unavailable("the models are being loaded; try again in a moment")
        _json(request, {"ready": True})

    def _model(self, request: Request, name: str, rest: list[str]) -> None:
        endpoint, version = self._table.endpoint(name), None
        if len(rest) >= 2 and rest[0] == "versions":
            version, rest = rest[1], rest[2:]
        match rest:
            case ["infer"]:
                infer(request, endpoint, self._table.gate, self._max_bytes, version)
            case ["ready"]:
                must_be(request, *_READ)
                arm = endpoint.stable if version is None else endpoint.pinned(version)
                _json(request, {"name": name, "version": arm.version, "ready": True})
            case []:
                must_be(request, *_READ)
                arm = endpoint.stable if version is None else endpoint.pinned(version)
                _json(request, _metadata(arm, [one.version for one in endpoint.arms]))
            case _:
                raise NotFound(f"a model has no {'/'.join(rest)!r}; expected infer, ready or nothing")

    def _index(self) -> list[IndexEntry]:
        loaded = [
            IndexEntry(name, arm.version, "READY", "")
            for name, endpoint in sorted(self._table.endpoints.items())
            for arm in endpoint.arms
        ]
        failed = [
            IndexEntry(one.endpoint, (one.state.canary or one.state.stable).version, "UNAVAILABLE", one.reason)
            for one in self._table.failures
        ]
        return loaded + failed

    def _labels(self, request: Request, name: str) -> None:
        self._table.endpoint(name)
        facts = label_facts(name, request.body)

        def durable(failed: MainspringError | None) -> None:
            if failed is not None:
                refuse(request, failed)
            else:
                _json(request, Accepted(len(facts)))

        if facts:
            self._table.log.append(facts)
        self._table.log.when_durable(durable)

    def _features(self, request: Request, view: str) -> None:
        try:
            asked = msgspec.json.decode(request.body, type=Keys)
        except (msgspec.MsgspecError, RecursionError) as malformed:
            raise InvalidRequest(f'the keys cannot be read: {malformed}; expected {{"keys": ["...", ...]}}') from None
        _json(request, FeatureAnswer(view, self._table.features.read(view, asked.keys)))


def _metadata(arm: LoadedArm, versions: list[str]) -> ModelMetadata:
    inputs = [TensorMetadata(one.name, protocol_datatype(one), one.shape or [-1]) for one in arm.layout.fields]
    outputs = [TensorMetadata(one.name, one.datatype, one.shape or [-1]) for one in arm.outputs]
    platform = "onnx_onnxv1" if arm.state.engine == "onnx" else "python_process"
    return ModelMetadata(arm.endpoint, versions, platform, inputs, outputs)


def _json(request: Request, value: object) -> None:
    request.respond(200, _encode(value))
