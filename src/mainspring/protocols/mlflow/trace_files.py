"""``get-trace-artifact``: a trace as the file that MLflow's pages download, and what was attached to it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mainspring.core.errors import InvalidRequest
from mainspring.protocols.mlflow.answering import Observer, answered
from mainspring.protocols.mlflow.calls import Services
from mainspring.protocols.mlflow.downloads import attachment, download
from mainspring.protocols.mlflow.span_wire import STATUS, TRACE_PREFIX, base64_of
from mainspring.runtime.uploads import Uploads
from mainspring.traces.model import Span
from mainspring.tracking.files.places import Place, safe_path

_PATHS = tuple(f"/ajax-api/{form}/mlflow/get-trace-artifact" for form in ("2.0", "3.0"))
_ATTACHMENTS, _SPANS = "attachments", "traces.json"


def trace_file_routes(services: Services, uploads: Uploads, observer: Observer | None) -> Sequence[Route]:
    """Give the routes of a trace's files."""

    async def handle(request: Request) -> Response:
        trace, path = request.query_params.get("request_id"), request.query_params.get("path")
        if not trace:
            raise InvalidRequest('Request must include the "request_id" query parameter.')
        if path:
            place, at = Place("trace", trace), f"{_ATTACHMENTS}/{safe_path(path)}"
            return await download(request, uploads, await uploads.threads.run(lambda: _file(place, at)))
        body = await uploads.threads.run(lambda: _written(trace))
        return Response(body, headers={"content-disposition": attachment(_SPANS)}, media_type="application/json")

    def _file(place: Place, path: str) -> Any:
        services.traces.get_trace(place.id)
        return services.tracking.files.get(place, path)

    def _written(trace: str) -> str:
        found = services.traces.get_trace(trace)
        return json.dumps({"spans": [span_in_file(span) for span in services.traces.spans([found.id])[found.id]]})

    async def endpoint(request: Request) -> Response:
        return await answered(request, _PATHS[0], handle, observer)

    return [Route(path, endpoint, methods=["GET"]) for path in _PATHS]


def span_in_file(span: Span) -> dict[str, Any]:
    """Give a span in the form of the file, in which every attribute is a text of JSON."""
    return {
        "trace_id": base64_of(span.otel_trace),
        "span_id": base64_of(span.id),
        "parent_span_id": None if span.parent is None else base64_of(span.parent),
        "name": span.name,
        "start_time_unix_nano": span.started_ns,
        "end_time_unix_nano": span.ended_ns,
        "events": [
            {"name": event.name, "time_unix_nano": event.at_ns, "attributes": _plain(event.attributes)}
            for event in span.events
        ],
        "status": {"code": STATUS[span.status], "message": span.message},
        "attributes": {key: _json(value) for key, value in span.attributes.items()},
        "links": [
            {"trace_id": TRACE_PREFIX + link.trace, "span_id": link.span, "attributes": _plain(link.attributes)}
            for link in span.links
        ],
    }


def _plain(attributes: dict[str, Any]) -> dict[str, Any]:
    return {key: value.hex() if isinstance(value, bytes) else value for key, value in attributes.items()}


def _json(value: Any) -> str:
    return json.dumps(value, default=bytes.hex, ensure_ascii=False)
