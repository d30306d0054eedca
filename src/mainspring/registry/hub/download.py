"""A model downloaded from a hub over HTTP: into the hub's cache layout, resumed where it broke off, digests checked.

The calls are those of Hugging Face's hub: ``/api/models/{id}/revision/{revision}`` lists the files of a commit, and
``/{id}/resolve/{commit}/{path}`` gives one, small ones at once, large ones by way of another host.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import httpx2
import msgspec

from mainspring.core.errors import Corrupt, Forbidden, InvalidRequest, MainspringError, NotFound, Unavailable
from mainspring.registry.hub.digests import check_file, plain_etag
from mainspring.registry.hub.model import HubFile, HubRef, HubSnapshot

ENDPOINT = "https://huggingface.co"
_TRIES, _REDIRECTS, _MAX_WAIT_S = 5, 5, 30.0
_AGAIN = (408, 429, 500, 502, 503, 504)


class _Lfs(msgspec.Struct):
    sha256: str | None = None
    size: int | None = None


class _Sibling(msgspec.Struct, rename={"blob_id": "blobId"}):
    rfilename: str
    size: int | None = None
    blob_id: str | None = None
    lfs: _Lfs | None = None


class _Info(msgspec.Struct, rename={"card": "cardData"}):
    sha: str
    siblings: list[_Sibling] = []
    card: dict[str, Any] | None = None
    gated: bool | str = False


class Hub:
    """A hub at *endpoint*; *token* is shown to it and to no other host. *wait* sleeps between attempts."""

    def __init__(
        self, endpoint: str = ENDPOINT, token: str | None = None, *, wait: Callable[[float], None] = time.sleep
    ) -> None:
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidRequest(f"{endpoint!r} is not the URL of a hub; expected https://HOST")
        self._endpoint, self._token, self._wait = endpoint.rstrip("/"), token, wait
        self._http = httpx2.Client(timeout=httpx2.Timeout(60.0, connect=10.0), follow_redirects=False)

    def __enter__(self) -> Hub:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def snapshot(self, model: HubRef) -> HubSnapshot:
        """Ask for the commit and the files of a model.

        Raises NotFound, Forbidden for a model whose terms have to be accepted first, Unavailable.
        """
        path = f"/api/models/{model.repository}/revision/{quote(model.revision, safe='')}?blobs=true"
        reply = self._patiently(lambda: self._get(f"{self._endpoint}{path}", {}), model)
        try:
            info = msgspec.json.decode(reply.read(), type=_Info)
        except msgspec.MsgspecError as error:
            raise Unavailable(f"{self._endpoint} does not answer as a hub does: {error}") from None
        finally:
            reply.close()
        card = info.card or {}
        licence = card.get("license")
        return HubSnapshot(
            repository=model.repository,
            revision=model.revision,
            commit=info.sha,
            files=[_file(sibling) for sibling in info.siblings],
            licence=str(card.get("license_name") or licence) if licence else None,
            facts=card,
        )

    def fetch(self, snapshot: HubSnapshot, files: Iterable[HubFile], cache: Path) -> Path:
        """Bring files of a snapshot into the cache folder and give the model's folder there.

        What is there already is not asked for again, and what broke off goes on where it did. Raises Corrupt for
        content that has not the digest which the hub gives, else as `snapshot`.
        """
        model = HubRef(snapshot.repository, snapshot.commit)
        folder = cache / model.folder
        for file in files:
            target = folder / "snapshots" / snapshot.commit / file.path
            if target.exists():
                continue
            blob = self._blob(model, snapshot, file, folder / "blobs")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            target.symlink_to(os.path.relpath(blob, target.parent))
        ref = folder / "refs" / snapshot.revision
        if ref.resolve().is_relative_to((folder / "refs").resolve()):
            ref.parent.mkdir(parents=True, exist_ok=True)
            ref.write_text(snapshot.commit, encoding="utf-8")
        return folder

    # Steps

    def _blob(self, model: HubRef, snapshot: HubSnapshot, file: HubFile, blobs: Path) -> Path:
        blobs.mkdir(parents=True, exist_ok=True)
        if file.etag is not None and (blobs / file.etag).exists():
            return blobs / file.etag
        url = f"{self._endpoint}/{model.repository}/resolve/{snapshot.commit}/{quote(file.path)}"
        key = file.etag or quote(f"{snapshot.commit}-{file.path}", safe="")
        part = blobs / f"{key}.incomplete"
        etag: str | None = self._patiently(lambda: self._one(url, part, file, snapshot), model)
        if etag is None:
            raise Corrupt(f"the hub gives no digest of {file.path} that could be checked; it is not taken")
        try:
            check_file(part, etag, file.path)
        except Corrupt:
            part.unlink()
            raise
        part.replace(blobs / etag)
        return blobs / etag

    def _one(self, url: str, part: Path, file: HubFile, snapshot: HubSnapshot) -> str | None:
        start = part.stat().st_size if part.exists() else 0
        if file.size is not None and start > file.size:
            part.unlink()
            start = 0
        reply = self._get(url, {"range": f"bytes={start}-"} if start else {})
        try:
            said = reply.extensions["hub"]
            commit = said.get("x-repo-commit")
            if commit is not None and commit != snapshot.commit:
                raise Corrupt(f"{file.path} is of commit {commit}, and {snapshot.commit} was asked for")
            etag = plain_etag(said.get("x-linked-etag") or said.get("etag"))
            if file.etag is not None and etag is not None and etag != file.etag:
                raise Corrupt(f"the hub gives two digests of {file.path}: {file.etag} and {etag}")
            if reply.status_code != 416:
                goes_on = reply.status_code == 206 and reply.headers.get("content-range", "").startswith(
                    f"bytes {start}-"
                )
                with part.open("ab" if goes_on else "wb") as kept:
                    for chunk in reply.iter_raw():
                        kept.write(chunk)
            if file.size is not None and part.stat().st_size < file.size:
                raise httpx2.ReadError(f"{file.path} broke off at {part.stat().st_size} of {file.size} bytes")
            return file.etag or etag
        finally:
            reply.close()

    def _get(self, url: str, headers: dict[str, str]) -> httpx2.Response:
        """Ask, and go where the answer leads; what each host said about the file is kept, the first one's first."""
        said: dict[str, str] = {}
        for _ in range(_REDIRECTS):
            mine = {"accept-encoding": "identity", **headers}
            if self._token and urlsplit(url)[:2] == urlsplit(self._endpoint)[:2]:
                mine["authorization"] = f"Bearer {self._token}"
            reply = self._http.send(self._http.build_request("GET", url, headers=mine), stream=True)
            told = {name: value for name, value in reply.headers.items() if name in ("x-linked-etag", "x-repo-commit")}
            if not reply.is_redirect and "x-linked-etag" not in said:
                told["etag"] = reply.headers.get("etag", "")
            said = {**told, **said}
            if not reply.is_redirect:
                reply.extensions["hub"] = said
                if reply.is_error and reply.status_code != 416:
                    raise _refused(reply)
                return reply
            reply.close()
            url = urljoin(url, reply.headers["location"])
        raise Unavailable(f"{self._endpoint} sends from one place to another and gives nothing")

    def _patiently(self, ask: Callable[[], Any], model: HubRef) -> Any:
        for number in range(_TRIES):
            try:
                return ask()
            except (_TryAgain, httpx2.TransportError) as error:
                if number == _TRIES - 1:
                    raise Unavailable(f"{self._endpoint} does not give {model.repository}: {error}") from error
                asked = error.after_s if isinstance(error, _TryAgain) else None
                self._wait(min(_MAX_WAIT_S, asked if asked is not None else 0.5 * 2**number))
            except _Refused as error:
                raise error.told(self._endpoint, model) from None
        raise AssertionError("the last attempt returns or raises")


class _TryAgain(Exception):
    def __init__(self, message: str, after_s: float | None) -> None:
        super().__init__(message)
        self.after_s = after_s


class _Refused(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message

    def told(self, endpoint: str, model: HubRef) -> MainspringError:
        place = f"{endpoint}/{model.repository}"
        if self.code == "GatedRepo" or self.status == 403:
            return Forbidden(
                f"{model.repository} is given only to who accepted its terms: do so at {place}, and give the token of "
                "that account (--token, or HF_TOKEN)"
            )
        if self.code == "RevisionNotFound":
            return NotFound(f"{model.repository} has no branch, tag or commit {model.revision}")
        if self.code == "EntryNotFound":
            return NotFound(f"{model.repository} has no such file any more at {model.revision}: {self.message}")
        if self.status in (401, 404):
            return NotFound(
                f"there is no model {model.repository} at {endpoint}, or it is private: then give a token that may "
                "read it (--token, or HF_TOKEN)"
            )
        return Unavailable(f"{place} answered {self.status}: {self.message}")


def _refused(reply: httpx2.Response) -> Exception:
    message = reply.headers.get("x-error-message", "")
    reply.close()
    if reply.status_code in _AGAIN:
        after = reply.headers.get("retry-after", "")
        return _TryAgain(f"status {reply.status_code} {message}".strip(), float(after) if after.isdigit() else None)
    return _Refused(reply.status_code, reply.headers.get("x-error-code", ""), message)


def _file(sibling: _Sibling) -> HubFile:
    if sibling.lfs is not None and sibling.lfs.sha256 is not None:
        size = sibling.lfs.size if sibling.lfs.size is not None else sibling.size
        return HubFile(path=sibling.rfilename, size=size, etag=plain_etag(sibling.lfs.sha256))
    return HubFile(path=sibling.rfilename, size=sibling.size, etag=plain_etag(sibling.blob_id))
