"""``POST /v1/traces``: what OpenTelemetry's exporters and MLflow's own clients send while spans end."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from mainspring.core.errors import InvalidData, InvalidRequest, NotFound, TooLarge
from mainspring.protocols.mlflow.answering import Observer, answered, json_response
from mainspring.protocols.mlflow.calls import Services
from mainspring.protocols.mlflow.errors import ErrorBody
from mainspring.protocols.mlflow.otlp_reading import decompressed, read_export
from mainspring.protocols.mlflow.totals import totals
from mainspring.protocols.mlflow.traces import require_experiment
from mainspring.runtime.threads import Threads

PATH = "/v1/traces"
_PROTOBUF, _JSON = "application/x-protobuf", "application/json"


def otlp_routes(
    services: Services, threads: Threads, *, max_body_bytes: int, observer: Observer | None = None
) -> Sequence[BaseRoute]:
    """Give the route of the export."""
    endpoint = _Export(services, threads, max_body_bytes, observer)
    return [Route(PATH, endpoint.answer, methods=["POST"])]


class _Export:
    def __init__(self, services: Services, threads: Threads, max_body_bytes: int, observer: Observer | None) -> None:
        self._services, self._threads, self._most, self._observer = services, threads, max_body_bytes, observer

    async def answer(self, request: Request) -> Response:
        return await answered(request, PATH, self._taken_in, self._observer)

    async def _taken_in(self, request: Request) -> Response:
        try:
            media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            experiment = request.headers.get("x-mlflow-experiment-id", "")
            if not experiment:
                raise InvalidData("the header x-mlflow-experiment-id is missing: it names the experiment of the traces")
            if media not in (_PROTOBUF, _JSON):
                raise InvalidRequest(f"Invalid Content-Type: {media!r}. Expected: {_PROTOBUF} or {_JSON}")
            body = await self._read(request)
            encoding = request.headers.get("content-encoding", "").strip().lower()
            run = request.headers.get("x-mlflow-run-id")
            await self._threads.run(lambda: self._log(body, encoding, media, experiment, run))
        except InvalidData as error:
            # Exporters tell by the status that there is no use in sending it again.
            return json_response(ErrorBody("INVALID_PARAMETER_VALUE", str(error)), 422)
        return json_response({}) if media == _JSON else Response(b"", media_type=_PROTOBUF)

    async def _read(self, request: Request) -> bytes:
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > self._most:
                raise TooLarge(f"the body is larger than {self._most} bytes; send less at once")
            parts.append(part)
        return b"".join(parts)

    def _log(self, body: bytes, encoding: str, media: str, experiment: str, run: str | None) -> None:
        plain = decompressed(body, encoding, self._most)
        came = read_export(plain, is_json=media == _JSON, run=self._known(run))
        require_experiment(self._services, experiment)
        self._services.traces.log_spans(experiment, came, totals)

    def _known(self, run: str | None) -> str | None:
        # Spans are worth more than the run that they are said to belong to: one that is not there is left out.
        try:
            return self._services.tracking.get_run(run).run.id if run else None
        except NotFound:
            return None
