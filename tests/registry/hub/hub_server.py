"""A hub on loopback with the behaviours of the real one: commits, Git blobs, large files on another host, refusals."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT, OLDER = "a" * 40, "b" * 40
LARGE = 1_000


def git_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


class FakeHub:
    """One model, ``acme/tiny``; what is asked for is noted in ``asked`` and what goes wrong is set by the test."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.card: dict[str, object] = {"license": "apache-2.0"}
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.needs_token: str | None = None
        self.gated = False
        self.break_after: int | None = None
        """The next large answer breaks off after so many bytes."""
        self.busy = 0
        """So many answers are 503 first."""
        self.damaged = False
        self.renamed: str | None = None
        self.url = self.cdn = ""

    def info(self) -> dict[str, object]:
        siblings = []
        for path, data in self.files.items():
            entry: dict[str, object] = {"rfilename": path, "size": len(data), "blobId": git_id(data)}
            if len(data) >= LARGE:
                pointer = b"version https://git-lfs.github.com/spec/v1\n"
                sha = hashlib.sha256(data).hexdigest()
                entry |= {"blobId": git_id(pointer), "lfs": {"sha256": sha, "size": len(data), "pointerSize": 134}}
            siblings.append(entry)
        return {
            "_id": "1", "id": "acme/tiny", "modelId": "acme/tiny", "sha": COMMIT, "private": False, "gated": False,
            "tags": ["license:apache-2.0"], "cardData": self.card, "siblings": siblings,
        }  # fmt: skip

    def ranges(self) -> list[str]:
        return [headers["range"] for _, _, headers in self.asked if "range" in headers]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub
    is_cdn = False

    def log_message(self, *args: object) -> None:
        return

    def answer(self, status: int, headers: dict[str, str], body: bytes = b"", cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self.wfile.flush()
            self.connection.shutdown(2)
            self.close_connection = True

    def refuse(self, status: int, code: str, message: str) -> None:
        headers = {"x-error-code": code, "x-error-message": message, "content-type": "application/json"}
        self.answer(status, headers, json.dumps({"error": message}).encode())

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        hub.asked.append(("cdn" if self.is_cdn else "hub", path, {k.lower(): v for k, v in self.headers.items()}))
        if hub.busy:
            hub.busy -= 1
            return self.answer(503, {"retry-after": "1"})
        if self.is_cdn:
            return self.give(hub.files[path.removeprefix("/blob/")], {"etag": '"of-the-cdn"'})
        if hub.renamed and path.startswith(f"/{hub.renamed}/"):
            return self.answer(307, {"location": self.path.replace(hub.renamed, "acme/tiny", 1)})
        if hub.needs_token and self.headers.get("authorization") != f"Bearer {hub.needs_token}":
            if hub.gated:
                return self.refuse(401, "GatedRepo", "Access to model acme/tiny is restricted.")
            return self.refuse(401, "RepoNotFound", "Invalid username or password.")
        return self.model(path)

    def model(self, path: str) -> None:
        hub = self.hub
        found = re.fullmatch(r"/api/models/(?P<id>.+?)/revision/(?P<revision>.+)", path)
        if found:
            if found["id"] not in ("acme/tiny", hub.renamed):
                return self.refuse(401, "RepoNotFound", "Repository not found")
            if found["revision"] not in ("main", "refs/pr/1", COMMIT):
                return self.refuse(404, "RevisionNotFound", f"Invalid rev id: {found['revision']}")
            return self.answer(200, {"content-type": "application/json"}, json.dumps(hub.info()).encode())
        found = re.fullmatch(r"/acme/tiny/resolve/(?P<revision>[^/]+)/(?P<path>.+)", path)
        if not found or found["path"] not in hub.files:
            return self.refuse(404, "EntryNotFound", "Entry not found")
        data = hub.files[found["path"]]
        headers = {"x-repo-commit": COMMIT, "accept-ranges": "bytes"}
        if len(data) < LARGE:
            return self.give(data, {**headers, "etag": f'"{git_id(data)}"'})
        linked = {"x-linked-etag": f'"{hashlib.sha256(data).hexdigest()}"', "x-linked-size": str(len(data))}
        location = f"{hub.cdn}/blob/{found['path']}?signature=1"
        return self.answer(302, {**headers, **linked, "location": location, "etag": '"of-the-pointer"'})

    def give(self, data: bytes, headers: dict[str, str]) -> None:
        hub = self.hub
        if hub.damaged:
            data = bytes(len(data))
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
        cut, hub.break_after = (hub.break_after, None) if len(data) >= LARGE else (None, hub.break_after)
        if wanted is None:
            return self.answer(200, headers, data, cut)
        start = int(wanted[1])
        if start >= len(data):
            return self.answer(416, {**headers, "content-range": f"bytes */{len(data)}"})
        said = {"content-range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        return self.answer(206, {**headers, **said}, data[start:], cut)


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """Serve the hub and its other host until the block ends."""
    hub, servers = FakeHub(), []
    for is_cdn in (False, True):
        handler = type("Handler", (_Handler,), {"hub": hub, "is_cdn": is_cdn})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        servers.append(server)
    # Two names of loopback are two hosts, to whom the token of one is not shown by the other.
    hub.url, hub.cdn = (
        f"http://{host}:{server.server_port}" for host, server in zip(("127.0.0.1", "localhost"), servers, strict=True)
    )
    try:
        yield hub
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
