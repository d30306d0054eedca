"""One artifact as an answer: whole or a range of it, always as a file to save and never as a page of this site."""

from __future__ import annotations

import mimetypes
import re
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from mainspring.core.errors import NotFound
from mainspring.runtime.uploads import PART_BYTES, Uploads
from mainspring.tracking.model import Artifact

_TEXTS = re.compile(
    "txt|log|err|cfg|conf|cnf|cf|ini|properties|prop|hocon|toml|yaml|yml|xml|json|js|py|py3|csv|tsv|md|rst|ipynb"
    "|MLmodel|MLproject|mlproject"
)
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_TOKEN = re.compile(r"[\w!#$&'*+.^`|~-]+", re.ASCII)
"""What HTTP lets stand without quotes."""


def media_type(path: str) -> str:
    """Give the type that MLflow's clients are used to for a file of this name: text wherever it can be read as such."""
    name = path.rpartition("/")[2]
    if _TEXTS.fullmatch(name.rpartition(".")[2]):
        return "text/plain"
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


async def download(request: Request, uploads: Uploads, artifact: Artifact) -> Response:
    """Answer with the bytes of an artifact; raises NotFound when the store has lost them."""
    headers = {
        "content-disposition": attachment(artifact.path),
        "x-content-type-options": "nosniff",
        "accept-ranges": "bytes",
        "etag": f'"{artifact.digest}"',
    }
    # Told as a header, so that nothing is added to it: a text is in whatever encoding it was written in.
    headers["content-type"] = media_type(artifact.path)
    first, count, status = 0, artifact.size, 200
    wanted = request.headers.get("range")
    if wanted is not None and request.headers.get("if-range", headers["etag"]) == headers["etag"]:
        found = byte_range(wanted, artifact.size)
        if found == "none of it":
            return Response(status_code=416, headers=headers | {"content-range": f"bytes */{artifact.size}"})
        if not isinstance(found, str):
            first, count = found
            status = 206
            headers["content-range"] = f"bytes {first}-{first + count - 1}/{artifact.size}"
    headers["content-length"] = str(count)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    if count <= PART_BYTES:
        # In one turn of a thread: most artifacts are small, and loading a model asks for many.
        data = await uploads.threads.run(lambda: _read(uploads, artifact, first, count))
        return Response(data, status, headers)
    if not await uploads.threads.run(lambda: uploads.store.exists(artifact.digest)):
        raise NotFound(f"the bytes of {artifact.path!r} are not in the store any more", digest=artifact.digest)
    return StreamingResponse(uploads.give_out(artifact.digest, first, count), status, headers)


def byte_range(wanted: str, size: int) -> tuple[int, int] | str:
    """Read a ``Range`` header: the first byte and how many, ``"all of it"`` or ``"none of it"``.

    Several ranges at once, and what is no range of bytes, are answered with the whole, as the standard allows.
    """
    found = _RANGE.fullmatch(wanted.strip())
    if found is None or not any(found.groups()):
        return "all of it"
    first, last = found.groups()
    if not first:
        count = min(int(last), size)
        return (size - count, count) if count else "none of it"
    if last and int(last) < int(first):
        return "all of it"
    if int(first) >= size:
        return "none of it"
    end = min(int(last), size - 1) if last else size - 1
    return int(first), end - int(first) + 1


def _read(uploads: Uploads, artifact: Artifact, first: int, count: int) -> bytes:
    with uploads.store.open_object(artifact.digest) as file:
        file.seek(first)
        return file.read(count)


def attachment(path: str) -> str:
    """Give the header that makes a browser save a file under its name."""
    name = path.rpartition("/")[2]
    if _TOKEN.fullmatch(name):
        return f"attachment; filename={name}"
    plain = re.sub(r'[^\x20-\x7e]|["\\%]', "_", name)
    if plain == name:
        return f'attachment; filename="{name}"'
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
