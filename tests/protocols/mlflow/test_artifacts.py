"""MLflow's own client logs, lists, reads and deletes artifacts of any size; a server that dies leaves nothing half."""

from __future__ import annotations

import hashlib
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import psutil
import pytest
from mlflow.artifacts import download_artifacts, load_dict, load_text
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from mainspring.core.settings import Settings
from mainspring.planes.up import environment
from mainspring.storage.objects.store import open_objects
from tests.holds.running import eventually
from tests.servers import answers, free_port

MB = 1 << 20


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in: the client names files by their place below the working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def client(tracking_url: str, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(tracking_url)
    yield MlflowClient(tracking_url)
    mlflow.set_tracking_uri(before)


@pytest.fixture
def run(client: MlflowClient) -> str:
    return str(client.create_run("0").info.run_id)


def paths(client: MlflowClient, run: str, path: str | None = None) -> list[str]:
    return [found.path for found in client.list_artifacts(run, path)]


def test_a_run_says_where_its_artifacts_are(client: MlflowClient, run: str) -> None:
    assert client.get_run(run).info.artifact_uri == f"mlflow-artifacts:/0/{run}/artifacts"


def test_files_and_folders_are_logged_listed_and_downloaded(client: MlflowClient, run: str, scratch: Path) -> None:
    for path in ("in/a.txt", "in/deep/er/b.bin", "in/empty", "in/odd name +%.txt", "in/ünï.txt"):
        (scratch / path).parent.mkdir(parents=True, exist_ok=True)
        (scratch / path).write_bytes(path.encode() * (0 if path.endswith("empty") else 3))
    client.log_artifact(run, "in/a.txt")
    client.log_artifact(run, "in/a.txt", "sub/folder")
    client.log_artifacts(run, "in", "all")
    assert paths(client, run) == ["a.txt", "all", "sub"]
    assert paths(client, run, "all/deep") == ["all/deep/er"]
    assert paths(client, run, "sub/folder") == ["sub/folder/a.txt"]
    assert paths(client, run, "a.txt") == paths(client, run, "none") == []
    (file, folder, _) = client.list_artifacts(run)
    assert (file.file_size, file.is_dir, folder.file_size, folder.is_dir) == (24, False, None, True)
    fetched = Path(client.download_artifacts(run, "all", str(scratch)))
    want = {p.relative_to("in").as_posix(): p.read_bytes() for p in Path("in").rglob("*") if p.is_file()}
    assert {p.relative_to(fetched).as_posix(): p.read_bytes() for p in fetched.rglob("*") if p.is_file()} == want
    assert Path(download_artifacts(f"runs:/{run}/all/deep/er/b.bin")).read_bytes() == b"in/deep/er/b.bin" * 3


def test_texts_dicts_tables_and_images_come_back(client: MlflowClient, run: str) -> None:
    uri = client.get_run(run).info.artifact_uri
    client.log_text(run, "first", "notes/a.txt")
    client.log_text(run, "second", "notes/a.txt")
    assert load_text(f"{uri}/notes/a.txt") == "second"
    client.log_dict(run, {"a": [1, 2.5, "x"]}, "conf.json")
    client.log_dict(run, {"a": 1}, "conf.yaml")
    assert load_dict(f"{uri}/conf.json") == {"a": [1, 2.5, "x"]}
    assert "a: 1" in load_text(f"{uri}/conf.yaml")
    client.log_table(run, pd.DataFrame({"a": [1, 2]}), "table.json")
    client.log_table(run, {"a": [3]}, "table.json")
    assert client.load_table("0", "table.json", run_ids=[run])["a"].tolist() == [1, 2, 3]


def test_figures_and_images_come_back_where_their_libraries_are(client: MlflowClient, run: str) -> None:
    pytest.importorskip("PIL")
    client.log_image(run, np.zeros((4, 4, 3), dtype=np.uint8), "image.png")
    client.log_image(run, np.zeros((4, 4, 3), dtype=np.uint8), key="eval/dogs", step=2)
    assert paths(client, run) == ["image.png", "images"]
    assert len(paths(client, run, "images")) == 2


def test_the_fluent_functions_do_the_same(client: MlflowClient, scratch: Path) -> None:
    (scratch / "file.txt").write_text("hello")
    with mlflow.start_run() as active:
        mlflow.log_artifact("file.txt")
        mlflow.log_text("t", "t.txt")
        mlflow.log_dict({"a": 1}, "d.json")
        assert mlflow.get_artifact_uri("t.txt").endswith(f"{active.info.run_id}/artifacts/t.txt")
    found = mlflow.artifacts.list_artifacts(run_id=active.info.run_id)
    assert [file.path for file in found] == ["d.json", "file.txt", "t.txt"]
    assert Path(download_artifacts(run_id=active.info.run_id, artifact_path="t.txt")).read_text() == "t"


def test_what_is_deleted_is_gone(client: MlflowClient, run: str) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    for path in ("a.txt", "b/c.txt", "b/d/e.txt"):
        client.log_text(run, "x", path)
    repository = get_artifact_repository(client.get_run(run).info.artifact_uri)
    repository.delete_artifacts("b/c.txt")
    assert paths(client, run, "b") == ["b/d"]
    repository.delete_artifacts("b")
    assert paths(client, run) == ["a.txt"]
    repository.delete_artifacts()
    assert paths(client, run) == []


def test_what_is_not_there_is_told_as_such(client: MlflowClient, run: str) -> None:
    with pytest.raises(MlflowException, match="ensure that the path is correct"):
        client.download_artifacts(run, "none.txt")
    with pytest.raises(MlflowException, match="none"):
        client.list_artifacts("none")


def test_the_files_of_a_logged_model_are_its_own(client: MlflowClient, scratch: Path) -> None:
    model = client.create_logged_model("0", name="net")
    assert model.artifact_location == f"mlflow-artifacts:/0/models/{model.model_id}/artifacts"
    (scratch / "net" / "data").mkdir(parents=True)
    (scratch / "net" / "MLmodel").write_text("flavors: {}")
    (scratch / "net" / "data" / "w").write_bytes(b"1234")
    client.log_model_artifacts(model.model_id, "net")
    fetched = Path(download_artifacts(f"models:/{model.model_id}"))
    assert (fetched / "data" / "w").read_bytes() == b"1234"
    listed = mlflow.artifacts.list_artifacts(f"models:/{model.model_id}")
    assert [file.path for file in listed] == ["MLmodel", "data"]


def test_a_large_file_goes_in_parts_where_the_client_thinks_that_it_is_large(
    client: MlflowClient, run: str, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", str(5 * MB))
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE", str(5 * MB))
    data = os.urandom(12 * MB + 7)
    (scratch / "large.bin").write_bytes(data)
    client.log_artifact(run, "large.bin", "parts")
    assert Path(client.download_artifacts(run, "parts/large.bin", str(scratch / "."))).read_bytes() == data


def test_a_client_that_asks_for_a_presigned_url_gets_the_file_without(
    client: MlflowClient, run: str, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD", "true")
    client.log_text(run, "proxied", "a.txt")
    assert load_text_of(client, run, "a.txt", scratch) == "proxied"


class Control:
    """A control plane on SQLite that can be killed and started again on its home."""

    def __init__(self, home: Path) -> None:
        self.home, self.port = home, free_port()
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        settings = Settings(home=str(self.home), policy_interval_s=0, port=self.port)
        command = [sys.executable, "-m", "mainspring.planes.control"]
        self.process = subprocess.Popen(command, env={**os.environ, **environment(settings)}, start_new_session=True)
        eventually(lambda: answers(self.port), "no control plane")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def memory(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    made = Control(tmp_path / "home")
    yield made
    made.kill()


def test_a_hundred_megabytes_go_up_and_down_and_are_never_in_memory(control: Control, scratch: Path) -> None:
    client = MlflowClient(control.url)
    run = client.create_run("0").info.run_id
    client.log_text(run, "x", "warm.txt")
    block = os.urandom(MB)
    with (scratch / "big.bin").open("wb") as file:
        for number in range(100):
            file.write(number.to_bytes(8) + block[8:])
    at_rest = peak = control.memory()
    moving = subprocess.Popen(
        [sys.executable, "-c", MOVE, control.url, run], cwd=scratch, env={**os.environ, "TMPDIR": str(scratch)}
    )
    while moving.poll() is None:
        peak = max(peak, control.memory())
        time.sleep(0.01)
    assert moving.returncode == 0
    assert digest(scratch / "back" / "big.bin") == digest(scratch / "big.bin")
    assert peak - at_rest < 40 * MB, f"{(peak - at_rest) / MB:.0f} MB"


MOVE = """
import sys
from mlflow.tracking import MlflowClient
url, run = sys.argv[1:]
client = MlflowClient(url)
client.log_artifact(run, "big.bin")
import os; os.mkdir("back")
client.download_artifacts(run, "big.bin", "back")
"""


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_a_server_that_is_killed_during_an_upload_leaves_nothing_half(control: Control, scratch: Path) -> None:
    client = MlflowClient(control.url)
    run = client.create_run("0").info.run_id
    client.log_text(run, "kept", "kept.txt")
    sending = http.client.HTTPConnection("127.0.0.1", control.port)
    sending.putrequest("PUT", f"/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/half.bin")
    sending.putheader("Content-Length", str(64 * MB))
    sending.endheaders()
    for _ in range(16):
        sending.send(os.urandom(MB))
    eventually(lambda: any(path.stat().st_size >= 8 * MB for path in coming_in(control)), "nothing came in")
    control.kill()
    sending.close()
    control.start()
    assert coming_in(control) == []
    assert paths(client, run) == ["kept.txt"]
    assert len(list(open_objects(f"file://{control.home / 'objects'}").list())) == 1
    client.log_text(run, "whole", "half.bin")
    assert load_text_of(client, run, "half.bin", scratch) == "whole"


def coming_in(control: Control) -> list[Path]:
    return [path for path in (control.home / "uploads").rglob("*") if path.is_file()]


def load_text_of(client: MlflowClient, run: str, path: str, folder: Path) -> Any:
    return Path(client.download_artifacts(run, path, str(folder))).read_text()
