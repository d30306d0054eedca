"""Bytes in and out of the object store over HTTP: streamed, because they may be large."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from mainspring.core.errors import InvalidData, MainspringError, TooLarge, Unavailable
from mainspring.protocols.native.errors import error_response
from mainspring.protocols.native.openapi import BINARY, described, entry
from mainspring.runtime.threads import Threads
from mainspring.storage.objects.store import ObjectStore

_PART = 1 << 20
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


class Stored(msgspec.Struct, frozen=True):
    """An object that was stored: the digest of its bytes and how many they are."""

    digest: str
    size: int


def object_routes(store: ObjectStore, threads: Threads, max_bytes: int) -> list[Route]:
    """Give ``POST /objects`` (the body is the object) and ``GET /objects/{digest}``."""

    @described(post=_UPLOAD)
    async def upload(request: Request) -> Response:
        try:
            return await _upload(request, store, threads, max_bytes)
        except MainspringError as error:
            return error_response(error)
        except ClientDisconnect:
            return Response(status_code=499)
        except OSError as error:
            told = (
                f"the object cannot be taken in: {error.strerror or error}; free some space in {tempfile.gettempdir()}"
            )
            return error_response(Unavailable(told))

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
        return StreamingResponse(_parts(store, digest, threads), headers=headers, media_type=_BYTES)

    return [
        Route("/objects", upload, methods=["POST"]),
        Route("/objects/{digest}", download, methods=["GET", "HEAD"]),
    ]


async def _upload(request: Request, store: ObjectStore, threads: Threads, max_bytes: int) -> Response:
    size = 0
    with tempfile.NamedTemporaryFile(prefix="mainspring-upload-") as file:
        async for part in request.stream():
            size += len(part)
            if size > max_bytes:
                raise TooLarge(f"the object is larger than {max_bytes} bytes (setting max_upload_bytes)")
            await threads.run(functools.partial(file.write, part))
        file.flush()
        digest = await threads.run(lambda: store.put_file(Path(file.name)))
    declared = request.headers.get("x-mainspring-digest")
    if declared is not None and declared != digest:
        raise InvalidData(f"the bytes that arrived have the digest {digest}, the sender said {declared}; send again")
    return Response(msgspec.json.encode(Stored(digest, size)), media_type="application/json")


async def _parts(store: ObjectStore, digest: str, threads: Threads) -> AsyncIterator[bytes]:
    file = await threads.run(lambda: store.open_object(digest))
    try:
        while part := await threads.run(lambda: file.read(_PART)):
            yield part
    finally:
        file.close()
