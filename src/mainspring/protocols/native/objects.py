"""Bytes in and out of the object store over HTTP: streamed, because they may be large."""

from __future__ import annotations

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from mainspring.core.errors import InvalidData, MainspringError
from mainspring.protocols.native.errors import error_response
from mainspring.protocols.native.openapi import BINARY, described, entry
from mainspring.runtime.uploads import Uploads

_BYTES = "application/octet-stream"
_STORED = {
    "type": "object",
    "properties": {"digest": {"type": "string"}, "size": {"type": "integer"}},
    "required": ["digest", "size"],
}
_DIGEST = {"name": "digest", "in": "path", "required": True, "schema": {"type": "string"}}
_DECLARED = {"name": "x-mainspring-digest", "in": "header", "required": False, "schema": {"type": "string"}}
_UPLOAD = entry(
    "Objects.upload",
    "Store the bytes of the body; refuses bytes that do not have the digest that the header declares.",
    "application/json",
    _STORED,
    parameters=[_DECLARED],
    requestBody={"required": True, "content": {_BYTES: {"schema": BINARY}}},
)
_DOWNLOAD = entry("Objects.download", "Give the bytes of an object.", _BYTES, BINARY, parameters=[_DIGEST])
_SIZE = entry("Objects.size", "Give the headers of an object without its bytes.", _BYTES, BINARY, parameters=[_DIGEST])


def object_routes(uploads: Uploads) -> list[Route]:
    """Give ``POST /objects`` (the body is the object) and ``GET /objects/{digest}``."""
    store, threads = uploads.store, uploads.threads

    @described(post=_UPLOAD)
    async def upload(request: Request) -> Response:
        try:
            return await _upload(request, uploads)
        except MainspringError as error:
            return error_response(error)
        except ClientDisconnect:
            return Response(status_code=499)

    @described(get=_DOWNLOAD, head=_SIZE)
    async def download(request: Request) -> Response:
        digest = request.path_params["digest"]
        try:
            size = await threads.run(lambda: store.size(digest))
        except MainspringError as error:
            return error_response(error)
        headers = {"content-length": str(size), "etag": f'"{digest}"', "cache-control": "immutable"}
        if request.method == "HEAD":
            return Response(headers=headers, media_type=_BYTES)
        return StreamingResponse(uploads.give_out(digest), headers=headers, media_type=_BYTES)

    return [
        Route("/objects", upload, methods=["POST"]),
        Route("/objects/{digest}", download, methods=["GET", "HEAD"]),
    ]


async def _upload(request: Request, uploads: Uploads) -> Response:
    stored = await uploads.take_in(request.stream())
    declared = request.headers.get("x-mainspring-digest")
    if declared is not None and declared != stored.digest:
        raise InvalidData(
            f"the bytes that arrived have the digest {stored.digest}, the sender said {declared}; send again"
        )
    return Response(msgspec.json.encode(stored), media_type="application/json")
