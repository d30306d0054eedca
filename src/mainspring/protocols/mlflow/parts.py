"""Uploads in parts through the proxy: begun, taken in part by part at once, and ended."""

from __future__ import annotations

import re

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from mainspring.core.errors import TooLarge
from mainspring.protocols.mlflow.answering import json_response
from mainspring.protocols.mlflow.reading import Ask, read_body
from mainspring.runtime.parted_uploads import PartedUploads
from mainspring.tracking.files.places import safe_folder, safe_path
from mainspring.tracking.files.service import ArtifactFiles

_MAX_BODY_BYTES = 4 << 20
_SEPARATORS = re.compile(r"[\\/]")


class Begin(msgspec.Struct):
    """What is to be uploaded: its name at the client, in how many parts."""

    path: str
    num_parts: int = 1


class Credential(msgspec.Struct, frozen=True):
    """Where one part is sent."""

    url: str
    part_number: int
    headers: dict[str, str] = {}


class Begun(msgspec.Struct, frozen=True):
    """An upload that was begun."""

    upload_id: str
    credentials: list[Credential]


class Part(msgspec.Struct):
    """A part as it was answered when it was sent."""

    part_number: int
    etag: str = ""


class End(msgspec.Struct):
    """An upload that is to be ended, with its parts or without."""

    path: str
    upload_id: str
    parts: list[Part] = []


class PartRoutes:
    """The four requests of such an upload; the parts come to this server too, so that any store can have them."""

    def __init__(self, files: ArtifactFiles, uploads: PartedUploads) -> None:
        self._files, self._uploads, self._threads = files, uploads, uploads.threads

    async def create(self, request: Request) -> Response:
        """Begin an upload and say where its parts go."""
        ask = await _read(request, Begin)
        target = _target(request, ask.path)
        upload = await self._threads.run(lambda: self._uploads.begin(target, ask.num_parts))
        base = f"{str(request.base_url).rstrip('/')}/api/2.0/mlflow-artifacts/mpu/part/{upload}"
        places = [Credential(f"{base}/{number}", number) for number in range(1, ask.num_parts + 1)]
        return json_response(Begun(upload, places))

    async def put(self, request: Request) -> Response:
        """Take one part in."""
        upload, number = request.path_params["upload"], request.path_params["number"]
        digest = await self._uploads.put(upload, number, request.stream())
        return Response(headers={"etag": f'"{digest}"'})

    async def complete(self, request: Request) -> Response:
        """Join the parts, and let the path point to what they make."""
        ask = await _read(request, End)
        target = _target(request, ask.path)
        parts = [(part.part_number, part.etag.strip('"')) for part in ask.parts]

        def join() -> None:
            place, path = self._files.place_of(target)
            self._files.put(place, path, self._uploads.finish(ask.upload_id, target, parts).digest)

        await self._threads.run(join)
        return json_response({})

    async def abort(self, request: Request) -> Response:
        """Forget an upload."""
        ask = await _read(request, End)
        await self._threads.run(lambda: self._uploads.abandon(ask.upload_id, _target(request, ask.path)))
        return json_response({})


def _target(request: Request, file: str) -> str:
    """Give the address of the artifact. Clients send *file* as its path on their machine: only its name counts."""
    folder = safe_folder(request.path_params["path"])
    name = _SEPARATORS.split(file)[-1]
    return safe_path(f"{folder}/{name}" if folder else name)


async def _read(request: Request, ask: type[Ask]) -> Ask:
    gathered = bytearray()
    async for part in request.stream():
        gathered += part
        if len(gathered) > _MAX_BODY_BYTES:
            raise TooLarge(f"the body is larger than {_MAX_BODY_BYTES} bytes")
    return read_body(bytes(gathered), ask, {})
