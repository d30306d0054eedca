"""The artifact proxy as it is on the wire: safe addresses, streamed bytes, listings, ranges, uploads in parts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from httpx2 import Client
from starlette.applications import Starlette
from starlette.testclient import TestClient

from mainspring.core.settings import Settings
from mainspring.planes.embedded import Platform
from mainspring.planes.emptying import Emptying
from mainspring.planes.front import Front
from mainspring.planes.testing_home import claim
from mainspring.protocols.mlflow.app import mlflow_routes
from mainspring.protocols.mlflow.artifacts import tree_of
from mainspring.protocols.mlflow.server import MlflowServer
from mainspring.runtime.http.asgi import AsgiBridge
from mainspring.runtime.threads import Threads
from mainspring.runtime.uploads import Uploads
from mainspring.storage.objects.digests import digest_of
from mainspring.tracking.files.store import artifact_files
from mainspring.tracking.store import run_artifacts
from tests.runtime.http.wire import Client as Wire
from tests.runtime.http.wire import Running
from tests.tracking.files.test_places import ESCAPES

PROXY = "/api/2.0/mlflow-artifacts/artifacts"
LIMIT = 5 << 20
MODEL = "0/models/m-1/artifacts"


@pytest.fixture(scope="module")
def emptying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emptying]:
    settings = Settings(home=str(tmp_path_factory.mktemp("home")))
    claim(settings)
    with Platform(settings) as opened:
        assert isinstance(opened, Platform)
        yield Emptying(opened)


@pytest.fixture
def platform(emptying: Emptying) -> Platform:
    emptying.empty()
    return emptying.platform


@pytest.fixture
def http(platform: Platform) -> Iterator[Client]:
    threads = Threads(4)
    uploads = Uploads(platform.objects, threads, platform.home / "uploads", LIMIT)
    app = Starlette(routes=mlflow_routes(platform, threads, uploads, max_body_bytes=1 << 20))
    front = Front(MlflowServer(platform, threads, None), AsgiBridge(app, ("127.0.0.1", 80)))
    running = Running(front.handle, streams=MlflowServer.streams)
    with Client(base_url=f"http://127.0.0.1:{running.port}") as client:
        yield client
    running.close()
    threads.close()


def put(http: Client | TestClient, address: str, data: bytes) -> None:
    reply = http.put(f"{PROXY}/{address}", content=data)
    assert (reply.status_code, reply.json()) == (200, {})


def listed(http: Client, path: str) -> Any:
    reply = http.get(PROXY, params={"path": path})
    assert reply.status_code == 200
    return reply.json().get("files", [])


def everything_below(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_bytes_come_back_as_they_were_sent_whatever_they_are(http: Client, platform: Platform, size: int) -> None:
    data = os.urandom(size)
    put(http, f"{MODEL}/a/b.bin", data)
    got = http.get(f"{PROXY}/{MODEL}/a/b.bin")
    assert (got.status_code, got.content) == (200, data)
    assert got.headers["etag"] == f'"{digest_of(data)}"'
    assert list(platform.objects.list()) == [digest_of(data)]
    assert everything_below(platform.home / "uploads") == []


def test_a_listing_has_what_lies_directly_in_a_folder(http: Client) -> None:
    for path in ("MLmodel", "data/model.pkl", "data/deep/x"):
        put(http, f"{MODEL}/{path}", path.encode())
    assert listed(http, MODEL) == [
        {"path": "MLmodel", "is_dir": False, "file_size": 7},
        {"path": "data", "is_dir": True},
    ]
    assert [file["path"] for file in listed(http, f"{MODEL}/data/")] == ["deep", "model.pkl"]
    assert listed(http, f"{MODEL}/MLmodel") == listed(http, f"{MODEL}/none") == []
    reply = http.get(PROXY.replace("/api", "/ajax-api"), params={"path": MODEL})
    assert len(reply.json()["files"]) == 2


def test_a_file_and_a_folder_can_be_deleted_and_nothing_there_is_no_error(http: Client) -> None:
    for path in ("a", "b/c", "b/d/e"):
        put(http, f"{MODEL}/{path}", b"x")
    for path in ("b/c", "b", "none"):
        assert http.delete(f"{PROXY}/{MODEL}/{path}").status_code == 200
    assert [file["path"] for file in listed(http, MODEL)] == ["a"]
    put(http, "kept", b"x")
    assert http.delete(f"{PROXY}/{MODEL}/").status_code == 200
    assert http.delete(f"{PROXY}/").status_code == 400
    assert [file["path"] for file in listed(http, "")] == ["kept"]
    assert listed(http, MODEL) == []


def test_what_is_not_there_is_a_404_and_a_folder_a_400(http: Client) -> None:
    put(http, f"{MODEL}/a/b", b"x")
    missing = http.get(f"{PROXY}/{MODEL}/c")
    assert (missing.status_code, missing.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    folder = http.get(f"{PROXY}/{MODEL}/a")
    assert (folder.status_code, folder.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    clash = http.put(f"{PROXY}/{MODEL}/a", content=b"x")
    assert (clash.status_code, clash.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def raw(wire: Wire, method: str, target: str) -> int:
    """The status of a request whose path no client has tidied up; with a body of one byte."""
    sent = b"%b %b HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\n\r\nx"
    try:
        reply = wire.send(sent % (method.encode(), target.encode())).reply()
    except (AssertionError, ConnectionResetError):
        raise AssertionError(f"no answer to {method} {target}") from None
    return reply.status


@pytest.mark.parametrize("encoded", [0, 1, 2, 3])
def test_no_address_leaves_the_store(http: Client, platform: Platform, encoded: int) -> None:
    for escape in ESCAPES:
        for _ in range(encoded):
            escape = quote(escape, safe="")
        path = quote(escape, safe="/\\:%") if encoded == 0 else escape
        # A client lists `folder/./other` when it was asked for all of `folder/.`: that means no other place.
        within = "/./" in f"/{path}"
        targets = [] if within else [("GET", f"{PROXY}?path={quote(at + path)}") for at in ("", f"{MODEL}/")]
        targets += [(verb, f"{PROXY}/{at}{path}") for verb in ("GET", "PUT", "DELETE") for at in ("", f"{MODEL}/")]
        targets += [
            ("GET", f"/get-artifact?run_id=r&path={quote(path)}"),
            ("GET", f"/model-versions/get-artifact?name=m&version=1&path={quote(path)}"),
            ("GET", f"/ajax-api/2.0/mlflow/logged-models/m-1/artifacts/files?artifact_file_path={quote(path)}"),
            ("POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid=r&path={quote(path)}"),
            ("GET", f"/api/2.0/mlflow/logged-models/m-1/artifacts/directories?artifact_directory_path={quote(path)}"),
            ("POST", f"/api/2.0/mlflow-artifacts/mpu/create/{path}"),
        ]
        for verb, target in targets:
            with Wire(http.base_url.port or 0) as wire:
                assert raw(wire, verb, target) in (400, 404), (verb, target)
    assert list(platform.objects.list()) == []
    with platform.database.read() as connection:
        for table in (run_artifacts, artifact_files):
            assert connection.execute(table.select()).all() == []


def test_an_upload_over_the_limit_is_refused_and_leaves_nothing(http: Client, platform: Platform) -> None:
    reply = http.put(f"{PROXY}/{MODEL}/big", content=b"x" * (LIMIT + 1))
    assert reply.status_code == 413
    assert listed(http, MODEL) == list(platform.objects.list()) == everything_below(platform.home / "uploads") == []


@pytest.mark.parametrize(
    ("wanted", "status", "start", "end"),
    [
        ("bytes=0-0", 206, 0, 1),
        ("bytes=1000000-2999999", 206, 1_000_000, 3_000_000),
        ("bytes=2999990-", 206, 2_999_990, 3_000_000),
        ("bytes=-5", 206, 2_999_995, 3_000_000),
        ("bytes=2999999-9999999", 206, 2_999_999, 3_000_000),
        ("bytes=3000000-", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
        ("bytes=5-1", 200, 0, 3_000_000),
        ("bytes=0-1,5-6", 200, 0, 3_000_000),
        ("lines=1-2", 200, 0, 3_000_000),
    ],
)
def test_a_part_of_a_file_can_be_read(http: Client, wanted: str, status: int, start: int, end: int) -> None:
    data = os.urandom(3_000_000)
    put(http, f"{MODEL}/a", data)
    reply = http.get(f"{PROXY}/{MODEL}/a", headers={"range": wanted})
    assert (reply.status_code, reply.content) == (status, data[start:end])
    if status == 206:
        assert reply.headers["content-range"] == f"bytes {start}-{end - 1}/3000000"


def test_what_is_downloaded_is_a_file_to_save_and_no_page(http: Client) -> None:
    for name, kind in {
        "x.html": "text/html",
        "MLmodel": "text/plain",
        "a.json": "text/plain",
        "a.bin": "octet",
    }.items():
        put(http, f"{MODEL}/{name}", b"<script>alert(1)</script>")
        reply = http.get(f"{PROXY}/{MODEL}/{name}")
        assert kind in reply.headers["content-type"]
        assert reply.headers["content-disposition"] == f"attachment; filename={name}"
        assert reply.headers["x-content-type-options"] == "nosniff"
    put(http, f"{MODEL}/{quote('üx.txt')}", b"x")
    reply = http.get(f"{PROXY}/{MODEL}/{quote('üx.txt')}")
    assert reply.headers["content-disposition"] == "attachment; filename=\"_x.txt\"; filename*=UTF-8''%C3%BCx.txt"


def test_an_upload_in_parts_is_one_object_when_it_is_complete(http: Client, platform: Platform) -> None:
    parts = [os.urandom(2 << 20), os.urandom(2 << 20), b"end"]
    ask: dict[str, Any] = {"path": "/home/me/big.bin", "num_parts": 3}
    begun = http.post(f"/api/2.0/mlflow-artifacts/mpu/create/{MODEL}/data", json=ask).json()
    assert [part["part_number"] for part in begun["credentials"]] == [1, 2, 3]
    done = [
        {"part_number": part["part_number"], "etag": http.put(part["url"], content=data).headers["etag"]}
        for part, data in reversed(list(zip(begun["credentials"], parts, strict=True)))
    ]
    assert listed(http, MODEL) == []
    ended = ask | {"upload_id": begun["upload_id"], "parts": done}
    assert http.post(f"/api/2.0/mlflow-artifacts/mpu/complete/{MODEL}/data", json=ended).status_code == 200
    assert http.get(f"{PROXY}/{MODEL}/data/big.bin").content == b"".join(parts)
    assert list(platform.objects.list()) == [digest_of(b"".join(parts))]
    assert everything_below(platform.home / "uploads") == []


def test_an_upload_in_parts_that_is_not_whole_is_refused_and_can_be_aborted(http: Client, platform: Platform) -> None:
    base = "/api/2.0/mlflow-artifacts/mpu"
    begun = http.post(f"{base}/create/{MODEL}", json={"path": "x", "num_parts": 2}).json()
    etag = http.put(begun["credentials"][0]["url"], content=b"one").headers["etag"]
    ended = {"path": "x", "upload_id": begun["upload_id"], "parts": [{"part_number": 1, "etag": etag}]}
    wrong = ended | {"parts": [{"part_number": 1, "etag": digest_of(b"another")}]}
    gap = ended | {"parts": [{"part_number": 2, "etag": etag}]}
    for body in (wrong, gap, ended | {"parts": []}):
        assert http.post(f"{base}/complete/{MODEL}", json=body).status_code == 400
    for body, folder in ((ended | {"upload_id": "../../x"}, MODEL), (ended | {"path": "y"}, MODEL), (ended, "other")):
        assert http.post(f"{base}/complete/{folder}", json=body).status_code == 404
    for upload in ("..", "%2e%2e", "0" * 26, begun["upload_id"].lower()):
        assert http.put(f"{base}/part/{upload}/1", content=b"x").status_code in (400, 404, 405)
    assert http.put(f"{base}/part/{begun['upload_id']}/0", content=b"x").status_code == 400
    assert http.post(f"{base}/abort/{MODEL}", json={"path": "x", "upload_id": begun["upload_id"]}).status_code == 200
    assert http.post(f"{base}/complete/{MODEL}", json=ended).status_code == 404
    assert listed(http, MODEL) == everything_below(platform.home / "uploads") == []


def test_presigned_urls_are_refused_in_words_that_the_client_knows(http: Client) -> None:
    put(http, f"{MODEL}/a", b"x")
    reply = http.get(f"/api/2.0/mlflow-artifacts/presigned/{MODEL}/a")
    assert (reply.status_code, reply.json()["error_code"]) == (501, "NOT_IMPLEMENTED")
    for verb in ("upload", "download"):
        reply = http.post(f"/api/2.0/mlflow/artifacts/presigned-{verb}-url", json={"run_id": "r", "path": "a"})
        assert (reply.status_code, reply.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_a_run_s_artifacts_are_listed_read_and_uploaded_by_run(http: Client, platform: Platform) -> None:
    run = platform.tracking.create_run("proxied")
    query = {"run_uuid": run.id, "path": "plots/a.txt"}
    assert http.post("/ajax-api/2.0/mlflow/upload-artifact", params=query, content=b"drawn").status_code == 200
    assert http.get("/get-artifact", params=query).content == b"drawn"
    found = http.get("/api/2.0/mlflow/artifacts/list", params={"run_id": run.id, "path": "plots"}).json()
    assert found["files"] == [{"path": "plots/a.txt", "is_dir": False, "file_size": 5}]
    root = found["root_uri"].removeprefix("mlflow-artifacts:/")
    assert root.endswith(f"/{run.id}/artifacts")
    assert http.get(f"{PROXY}/{root}/plots/a.txt").content == b"drawn"
    for missing in ({"run_id": "none", "path": "x"}, {"run_id": run.id, "path": "none"}):
        assert http.get("/get-artifact", params=missing).status_code == 404
    assert http.get("/get-artifact", params={"path": "x"}).status_code == 400
    too_large = http.post("/ajax-api/2.0/mlflow/upload-artifact", params=query, content=b"x" * (10 << 20) + b"x")
    assert too_large.status_code == 413


def test_the_files_of_logged_models_and_versions_are_read_by_their_names(http: Client, platform: Platform) -> None:
    platform.tracking.experiments.default()
    model = platform.logged_models.create("0", "net")
    put(http, f"0/models/{model.id}/artifacts/data/w", b"weights")
    listed = f"/api/2.0/mlflow/logged-models/{model.id}/artifacts/directories"
    found = http.get(listed, params={"artifact_directory_path": "data"}).json()
    assert found["files"] == [{"path": "data/w", "is_dir": False, "file_size": 7}]
    assert found["root_uri"] == f"mlflow-artifacts:/0/models/{model.id}/artifacts"
    read = f"/ajax-api/2.0/mlflow/logged-models/{model.id}/artifacts/files"
    assert http.get(read, params={"artifact_file_path": "data/w"}).content == b"weights"
    http.post("/api/2.0/mlflow/registered-models/create", json={"name": "net"})
    asked = {"name": "net", "source": f"models:/{model.id}", "model_id": model.id}
    reply = http.post("/api/2.0/mlflow/model-versions/create", json=asked)
    assert reply.status_code == 200, reply.text
    made = reply.json()["model_version"]
    query = {"name": "net", "version": made["version"], "path": "data/w"}
    assert http.get("/model-versions/get-artifact", params=query).content == b"weights"
    for wrong in ({"path": "none"}, {"version": "9"}, {"name": "none"}):
        assert http.get("/model-versions/get-artifact", params=query | wrong).status_code == 404
    assert http.get("/model-versions/get-artifact", params=query | {"version": "x"}).status_code == 400
    assert http.get(read.replace(model.id, "m-none"), params={"artifact_file_path": "x"}).status_code == 404


def test_a_uri_names_the_tree_below_it(http: Client, platform: Platform) -> None:
    run = platform.tracking.create_run("proxied").id
    put(http, f"{MODEL}/MLmodel", b"m")
    put(http, f"{MODEL}/data/w", b"ww")
    put(http, f"7/{run}/artifacts/net/w", b"www")
    model = {"MLmodel": (digest_of(b"m"), 1), "data/w": (digest_of(b"ww"), 2)}
    assert tree_of(platform, f"mlflow-artifacts:/{MODEL}") == model
    assert tree_of(platform, f"mlflow-artifacts://host:5000/{MODEL}/") == model
    assert tree_of(platform, f"http://127.0.0.1{PROXY}/{MODEL}") == model
    assert tree_of(platform, "models:/m-1") == model
    assert tree_of(platform, "models:/m-1/data") == {"w": (digest_of(b"ww"), 2)}
    assert tree_of(platform, f"runs:/{run}/net") == {"w": (digest_of(b"www"), 3)}
    assert tree_of(platform, f"runs:/{run}/net/w") == {"w": (digest_of(b"www"), 3)}
    for unknown in ("s3://bucket/x", "runs:/none/net", f"runs:/{run}/../x", "models:/churn/1", "file:///etc", "", "x"):
        assert tree_of(platform, unknown) is None


def test_the_server_says_what_it_can(http: Client) -> None:
    for prefix in ("/api", "/ajax-api"):
        told = http.get(f"{prefix}/3.0/mlflow/server-info").json()
        assert (told["store_type"], told["multipart_uploads_enabled"]) == ("SqlStore", True)
    assert http.get("/version").text.startswith("3.")


def test_a_store_that_answers_by_http_gives_a_presigned_url(s3_url: str, tmp_path: Path) -> None:
    threads = Threads(2)
    with Platform(Settings(home=str(tmp_path / "home"), objects_url=s3_url)) as opened:
        assert isinstance(opened, Platform)
        uploads = Uploads(opened.objects, threads, opened.home / "uploads", LIMIT)
        app = Starlette(routes=mlflow_routes(opened, threads, uploads, max_body_bytes=1 << 20))
        with TestClient(app, base_url="http://127.0.0.1") as http:
            put(http, f"{MODEL}/a", b"in a bucket")
            assert http.get(f"{PROXY}/{MODEL}/a").content == b"in a bucket"
            told = http.get(f"/api/2.0/mlflow-artifacts/presigned/{MODEL}/a").json()
            assert (told["headers"], told["file_size"]) == ({}, 11)
            assert httpx2.get(told["url"]).content == b"in a bucket"
            assert http.get(f"/api/2.0/mlflow-artifacts/presigned/{MODEL}/none").status_code == 404
    threads.close()


def test_types_names_and_the_folder_itself_are_told_as_clients_compare_them(http: Client) -> None:
    put(http, f"{MODEL}/mlproject", b"x")
    reply = http.get(f"{PROXY}/{MODEL}/mlproject")
    assert reply.headers["content-type"] == "text/plain", "in which encoding it was written nobody said"
    assert reply.headers["content-disposition"] == "attachment; filename=mlproject"
    put(http, f"{MODEL}/two words.txt", b"x")
    assert http.get(f"{PROXY}/{MODEL}/two%20words.txt").headers["content-disposition"].endswith('="two words.txt"')
    whole = http.get(PROXY, params={"path": MODEL}).json()
    assert len(whole["files"]) == 2
    assert http.get(PROXY, params={"path": f"{MODEL}/."}).json() == whole
    put(http, f"{MODEL}/sub/a.txt", b"x")
    assert http.get(PROXY, params={"path": f"{MODEL}/./sub"}).json()["files"][0]["path"] == "a.txt"


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/api/2.0/mlflow-artifacts/artifacts", {}),
        ("/get-artifact", {"run_id": "r"}),
        ("//model-versions/get-artifact", {"name": "m", "version": "1"}),
        ("/ajax-api/2.0/mlflow/logged-models/m-1/artifacts/files", {}),
    ],
)
def test_a_path_that_leads_out_is_called_invalid(http: Client, path: str, query: dict[str, str]) -> None:
    name = "artifact_file_path" if "logged-models" in path else "path"
    # The whole URL, as two slashes at the beginning of a path would name another host.
    reply = http.get(f"http://127.0.0.1:{http.base_url.port}{path}", params=query | {name: "../other"})
    assert (reply.status_code, reply.json()["message"]) == (400, "Invalid path")


@pytest.mark.parametrize(
    ("query", "says"),
    [({}, "Request must specify run_uuid."), ({"run_uuid": "r"}, "Request must specify path.")],
)
def test_an_upload_says_what_is_missing(http: Client, query: dict[str, str], says: str) -> None:
    reply = http.post("/ajax-api/2.0/mlflow/upload-artifact", params=query)
    assert (reply.status_code, reply.json()["message"]) == (400, says)
