"""Artifacts: listed, read, written and removed through the proxy that MLflow's clients are sent to, and by run."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mainspring.core.errors import InvalidRequest, MainspringError, NotFound, TooLarge
from mainspring.protocols.mlflow.answering import Handler, Observer, answered, json_response
from mainspring.protocols.mlflow.calls import CallList, Services
from mainspring.protocols.mlflow.downloads import download
from mainspring.protocols.mlflow.errors import ErrorBody
from mainspring.protocols.mlflow.parts import PartRoutes
from mainspring.runtime.parted_uploads import PartedUploads
from mainspring.runtime.uploads import Uploads
from mainspring.storage.objects.tree import tree_entries
from mainspring.tracking.files.places import Place, safe_path
from mainspring.tracking.files.service import ArtifactFiles
from mainspring.tracking.model import Artifact

calls = CallList()

PRESIGNED_S = 900.0
"""How long a URL of the store is good."""

MAX_PAGE_UPLOAD_BYTES = 10 * 2**20
"""What the pages of MLflow's console may upload at once."""

PROXY = "/2.0/mlflow-artifacts"


class FileInfo(msgspec.Struct, frozen=True):
    """A file or a folder, as a listing has it."""

    path: str
    is_dir: bool
    file_size: int | msgspec.UnsetType = msgspec.UNSET


class Listing(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to every listing; only those of runs and logged models say where they are."""

    files: list[FileInfo] = []
    root_uri: str = ""


class PresignedDownload(msgspec.Struct, frozen=True):
    """Where the store itself gives an artifact, for a while."""

    url: str
    file_size: int
    headers: dict[str, str] = {}


class ListOfRun(msgspec.Struct):
    """What of a run is asked for."""

    run_id: str = ""
    run_uuid: str = ""
    path: str = ""


class ListOfModel(msgspec.Struct):
    """What of a logged model is asked for."""

    model_id: str
    artifact_directory_path: str = ""


@calls.on("GET", "artifacts/list")
def list_of_run(services: Services, ask: ListOfRun) -> Listing:
    """List a folder of a run."""
    run = services.tracking.get_run(_named(ask.run_id or ask.run_uuid, "run_id")).run
    files = _listed(services.tracking.files, Place("run", run.id), _folder(ask.path), whole_paths=True)
    return Listing(files, run.artifact_uri)


@calls.on("GET", "logged-models/{model_id}/artifacts/directories")
def list_of_model(services: Services, ask: ListOfModel) -> Listing:
    """List a folder of a logged model."""
    model = services.logged_models.get(ask.model_id)
    root = f"{services.tracking.experiments.get(model.experiment).artifact_uri}/models/{model.id}/artifacts"
    place = Place("model", model.id)
    folder = _folder(ask.artifact_directory_path)
    return Listing(_listed(services.tracking.files, place, folder, whole_paths=True), root)


class Presign(msgspec.Struct):
    """An artifact that somebody wants to move without the server."""

    path: str
    run_id: str = ""
    model_id: str = ""


@calls.on("POST", "artifacts/presigned-upload-url", "artifacts/presigned-download-url")
def presign(services: Services, ask: Presign) -> None:
    """Refuse, as MLflow does for what the proxy serves."""
    raise InvalidRequest(
        "Presigned URLs are not supported for artifacts that the server itself keeps: upload and download through "
        "mlflow-artifacts"
    )


def proxy_routes(services: Services, uploads: Uploads, observer: Observer | None) -> Sequence[Route]:
    """Give the routes below ``mlflow-artifacts``, where artifacts are known by their address alone."""
    files = services.tracking.files
    proxy, parts = _Proxy(files, uploads), PartRoutes(files, PartedUploads(uploads))
    return _routes(
        observer,
        ("GET", "/artifacts", proxy.list),
        ("GET", "/artifacts/{path:path}", proxy.get),
        ("PUT", "/artifacts/{path:path}", proxy.put),
        ("DELETE", "/artifacts/{path:path}", proxy.delete),
        ("GET", "/presigned/{path:path}", proxy.presigned),
        ("POST", "/mpu/create/{path:path}", parts.create),
        ("POST", "/mpu/complete/{path:path}", parts.complete),
        ("POST", "/mpu/abort/{path:path}", parts.abort),
        ("PUT", "/mpu/part/{upload}/{number:int}", parts.put),
    )


def page_routes(services: Services, uploads: Uploads, observer: Observer | None) -> Sequence[Route]:
    """Give the routes of pages and scripts, where artifacts are known by the run, version or model that has them."""
    by_owner = _ByOwner(services, uploads)
    return _routes(
        observer,
        ("GET", "/get-artifact", by_owner.of_run),
        ("GET", "/model-versions/get-artifact", by_owner.of_version),
        # Addresses that were put together from parts, which MLflow's server takes as well.
        ("GET", "//get-artifact", by_owner.of_run),
        ("GET", "//model-versions/get-artifact", by_owner.of_version),
        ("GET", "/ajax-api/2.0/mlflow/logged-models/{model}/artifacts/files", by_owner.of_model),
        ("POST", "/ajax-api/2.0/mlflow/upload-artifact", by_owner.upload),
    )


def _routes(observer: Observer | None, *listed: tuple[str, str, Handler]) -> Sequence[Route]:
    return [
        Route(path, _counted(handle, f"{method} {path}", observer), methods=[method]) for method, path, handle in listed
    ]


def _counted(handle: Handler, name: str, observer: Observer | None) -> Handler:
    async def endpoint(request: Request) -> Response:
        return await answered(request, name, handle, observer)

    return endpoint


class _Proxy:
    """Artifacts by their address alone: ``EXPERIMENT/RUN/artifacts/PATH``, as the URI of the run has it."""

    def __init__(self, files: ArtifactFiles, uploads: Uploads) -> None:
        self._files, self._uploads, self._threads = files, uploads, uploads.threads

    async def list(self, request: Request) -> Response:
        address = _folder(request.query_params.get("path", ""))

        def look() -> Listing:
            place, folder = self._files.place_of(address)
            return Listing(_listed(self._files, place, folder, whole_paths=False))

        return json_response(await self._threads.run(look))

    async def get(self, request: Request) -> Response:
        def find() -> Artifact:
            return self._files.get(*self._files.place_of(request.path_params["path"]))

        return await download(request, self._uploads, await self._threads.run(find))

    async def put(self, request: Request) -> Response:
        # Refused before the first byte, where it must be.
        place, path = await self._threads.run(lambda: self._named(request.path_params["path"]))
        stored = await self._uploads.take_in(request.stream())
        await self._threads.run(lambda: self._files.put(place, path, stored.digest))
        return json_response({})

    async def delete(self, request: Request) -> Response:
        def remove() -> None:
            # A folder may end with a slash, but nobody means all that there is.
            address = safe_path(request.path_params["path"].removesuffix("/"))
            self._files.remove(*self._files.place_of(address))

        await self._threads.run(remove)
        return json_response({})

    async def presigned(self, request: Request) -> Response:
        def sign() -> PresignedDownload:
            artifact = self._files.get(*self._files.place_of(request.path_params["path"]))
            return PresignedDownload(store.presigned(artifact.digest, expires_s=PRESIGNED_S), artifact.size)

        store = self._uploads.store
        if "presigned" in store.lacks:
            told = "Presigned downloads are not supported by this server's store: download through mlflow-artifacts"
            return json_response(ErrorBody("NOT_IMPLEMENTED", told), 501)
        return json_response(await self._threads.run(sign))

    def _named(self, address: str) -> tuple[Place, str]:
        place, path = self._files.place_of(safe_path(address))
        return place, safe_path(path)


class _ByOwner:
    """Artifacts by the run, the version or the logged model that has them."""

    def __init__(self, services: Services, uploads: Uploads) -> None:
        self._services, self._uploads, self._threads = services, uploads, uploads.threads

    async def of_run(self, request: Request) -> Response:
        asked = request.query_params
        run = _named(asked.get("run_id") or asked.get("run_uuid"), "run_id")
        return await self._file(request, Place("run", run), _safe(_named(asked.get("path"), "path")))

    async def of_model(self, request: Request) -> Response:
        path = _named(request.query_params.get("artifact_file_path"), "artifact_file_path")
        return await self._file(request, Place("model", request.path_params["model"]), _safe(path))

    async def of_version(self, request: Request) -> Response:
        asked = request.query_params
        name, version = _named(asked.get("name"), "name"), _number(asked.get("version"), "version")
        path = _safe(_named(asked.get("path"), "path"))
        find = functools.partial(_file_of_version, self._services, name, version, path)
        return await download(request, self._uploads, await self._threads.run(find))

    async def upload(self, request: Request) -> Response:
        asked = request.query_params
        for name in ("run_uuid", "path"):
            if not asked.get(name):
                raise InvalidRequest(f"Request must specify {name}.")
        run, path = asked["run_uuid"], _safe(asked["path"])
        gathered = bytearray()
        async for part in request.stream():
            gathered += part
            if len(gathered) > MAX_PAGE_UPLOAD_BYTES:
                raise TooLarge("Artifact size is too large. Max size is 10MB.")
        if not gathered:
            raise InvalidRequest("Request must specify data.")

        def keep() -> None:
            digest = self._uploads.store.put_bytes(bytes(gathered))
            self._services.tracking.files.put(Place("run", run), path, digest)

        await self._threads.run(keep)
        return json_response({})

    async def _file(self, request: Request, place: Place, path: str) -> Response:
        def find() -> Artifact:
            if place.kind == "run":
                self._services.tracking.get_run(place.id)
            else:
                self._services.logged_models.get(place.id)
            return self._services.tracking.files.get(place, path)

        return await download(request, self._uploads, await self._threads.run(find))


def tree_of(services: Services, uri: str) -> Mapping[str, tuple[str, int]] | None:
    """Give the files that a URI of MLflow's names, each path with digest and size; None when it names none held here.

    It may be an artifact URI (``mlflow-artifacts:/...``, or its address at the proxy), ``runs:/RUN/PATH`` or
    ``models:/m-ID``. Paths are relative to it; a single file has its own name.
    """
    files = services.tracking.files
    try:
        found = _place_of_uri(files, uri)
        below = files.below(*found) if found is not None else []
    except MainspringError:
        return None
    if found is None or not below:
        return None
    start = len(found[1]) + 1 if found[1] else 0
    return {file.path[start:] or file.path.rpartition("/")[2]: (file.digest, file.size) for file in below}


def _place_of_uri(files: ArtifactFiles, uri: str) -> tuple[Place, str] | None:
    parsed = urlsplit(uri)
    path = parsed.path.lstrip("/")
    head, _, rest = path.partition("/")
    if parsed.scheme == "runs" and head:
        return Place("run", head), rest
    if parsed.scheme == "models" and head.startswith("m-"):
        return Place("model", head), rest
    if parsed.scheme == "mlflow-artifacts" and path:
        return files.place_of(path)
    if parsed.scheme in ("http", "https"):
        _, at, address = parsed.path.partition(f"api{PROXY}/artifacts/")
        return files.place_of(address) if at and address else None
    return None


def _file_of_version(services: Services, name: str, version: int, path: str) -> Artifact:
    found = services.registry.get_version(name, version)
    if found.digest is not None:
        for entry in tree_entries(services.objects, found.digest):
            if entry.path == path:
                return Artifact(path, entry.digest, entry.size)
    elif found.location is not None:
        held = tree_of(services, found.location) or {}
        if path in held:
            return Artifact(path, *held[path])
    raise NotFound(f"{found.ref} has no file {path!r}", path=path)


def _listed(files: ArtifactFiles, place: Place, folder: str, *, whole_paths: bool) -> list[FileInfo]:
    start = f"{folder.removesuffix('/')}/" if whole_paths and folder else ""
    return [
        FileInfo(start + name, size is None, msgspec.UNSET if size is None else size)
        for name, size in files.children(place, folder)
    ]


def _folder(path: str) -> str:
    # A client that wants all that there is asks for the folder `.`, and then for what it found there as `./name`.
    first, *others = path.removesuffix("/").split("/")
    plain = "/".join([first, *(part for part in others if part != ".")])
    return "" if plain in ("", ".") else _safe(plain)


def _safe(path: str) -> str:
    try:
        return safe_path(path)
    except InvalidRequest:
        # The words that MLflow's clients and pages know.
        raise InvalidRequest("Invalid path", path=path) from None


def _named(value: str | None, name: str) -> str:
    if not value:
        raise InvalidRequest(f"Missing value for required parameter '{name}'.")
    return value


def _number(value: Any, name: str) -> int:
    if not str(value or "").isdecimal():
        raise InvalidRequest(f"Parameter '{name}' must be a whole number, not {value!r}.")
    return int(value)
