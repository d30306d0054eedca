"""A hub's model arrives whole, with the digests that the hub gave, or not at all; what broke off goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from mainspring.core.errors import Corrupt, Forbidden, InvalidData, InvalidRequest, NotFound, Unavailable
from mainspring.registry.hub.cache import open_cache, path_of
from mainspring.registry.hub.choosing import choose
from mainspring.registry.hub.download import Hub
from mainspring.registry.hub.model import HubFile, HubRef
from tests.registry.hub.hub_server import COMMIT, FakeHub, fake_hub, git_id

WEIGHTS = bytes(range(256)) * 20
MODEL = HubRef("acme/tiny")


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with fake_hub() as served:
        served.files = {
            "README.md": b"---\nlicense: apache-2.0\n---\n# Tiny\n",
            "config.json": b'{"model_type": "tiny"}',
            "model.safetensors": WEIGHTS,
            "pytorch_model.bin": b"x" * 4000,
            "sub folder/vocab.txt": b"a\nb\n",
            ".gitattributes": b"*.bin filter=lfs\n",
        }
        yield served


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def client(hub: FakeHub, waits: list[float]) -> Iterator[Hub]:
    with Hub(hub.url, wait=waits.append) as opened:
        yield opened


def fetched(client: Hub, cache: Path, model: HubRef = MODEL) -> Path:
    snapshot = client.snapshot(model)
    return client.fetch(snapshot, choose(snapshot.files), cache)


def test_files_arrive_in_the_layout_of_the_hub_s_cache(hub: FakeHub, client: Hub, tmp_path: Path) -> None:
    folder = fetched(client, tmp_path)
    assert folder == tmp_path / "models--acme--tiny"
    assert (folder / "refs" / "main").read_text() == COMMIT
    snapshot = folder / "snapshots" / COMMIT
    assert (snapshot / "model.safetensors").read_bytes() == WEIGHTS
    assert (snapshot / "model.safetensors").readlink().name == hashlib.sha256(WEIGHTS).hexdigest()
    assert (snapshot / "config.json").readlink().name == git_id(hub.files["config.json"])
    assert (snapshot / "sub folder" / "vocab.txt").read_bytes() == b"a\nb\n"
    assert not (snapshot / "pytorch_model.bin").exists()
    asked = len(hub.asked)
    fetched(client, tmp_path)
    assert len(hub.asked) == asked + 1, "what is there is not asked for again"


def test_the_token_is_shown_to_the_hub_alone(hub: FakeHub, tmp_path: Path) -> None:
    hub.needs_token = "secret"
    with Hub(hub.url, "secret") as client:
        fetched(client, tmp_path)
    shown = {host: "authorization" in headers for host, _, headers in hub.asked}
    assert shown == {"hub": True, "cdn": False}


def test_a_download_that_broke_off_goes_on(hub: FakeHub, client: Hub, waits: list[float], tmp_path: Path) -> None:
    hub.break_after = 1500
    folder = fetched(client, tmp_path)
    assert (folder / "snapshots" / COMMIT / "model.safetensors").read_bytes() == WEIGHTS
    assert "bytes=1500-" in hub.ranges()
    assert len(waits) == 1


def test_what_another_process_left_is_gone_on_with(hub: FakeHub, client: Hub, tmp_path: Path) -> None:
    blobs = tmp_path / "models--acme--tiny" / "blobs"
    blobs.mkdir(parents=True)
    sha = hashlib.sha256(WEIGHTS).hexdigest()
    (blobs / f"{sha}.incomplete").write_bytes(WEIGHTS[:4000])
    small = git_id(hub.files["config.json"])
    (blobs / f"{small}.incomplete").write_bytes(hub.files["config.json"])
    fetched(client, tmp_path)
    assert {"bytes=4000-", f"bytes={len(hub.files['config.json'])}-"} <= set(hub.ranges())
    assert (blobs / sha).read_bytes() == WEIGHTS
    assert list(blobs.glob("*.incomplete")) == []


@pytest.mark.parametrize("left", [b"y" * 4000, b"y" * 9000])
def test_what_was_left_and_is_wrong_is_found_and_dropped(
    hub: FakeHub, client: Hub, tmp_path: Path, left: bytes
) -> None:
    blobs = tmp_path / "models--acme--tiny" / "blobs"
    blobs.mkdir(parents=True)
    part = blobs / f"{hashlib.sha256(WEIGHTS).hexdigest()}.incomplete"
    part.write_bytes(left)
    if len(left) < len(WEIGHTS):
        with pytest.raises(Corrupt, match=r"model.safetensors has the digest"):
            fetched(client, tmp_path)
        assert not part.exists()
    folder = fetched(client, tmp_path)
    assert (folder / "snapshots" / COMMIT / "model.safetensors").read_bytes() == WEIGHTS


def test_other_content_than_the_hub_says_is_not_taken(hub: FakeHub, client: Hub, tmp_path: Path) -> None:
    hub.damaged = True
    with pytest.raises(Corrupt, match="it is not taken"):
        fetched(client, tmp_path)
    assert list((tmp_path / "models--acme--tiny" / "blobs").iterdir()) == []


def test_a_busy_hub_is_asked_again_when_it_says(hub: FakeHub, client: Hub, waits: list[float], tmp_path: Path) -> None:
    hub.busy = 2
    fetched(client, tmp_path)
    assert waits == [1.0, 1.0]
    hub.busy = 99
    with pytest.raises(Unavailable, match="does not give acme/tiny: status 503"):
        client.snapshot(MODEL)


def test_refusals_say_what_to_do(hub: FakeHub, client: Hub) -> None:
    with pytest.raises(NotFound, match=r"no model acme/nothing .* or it is private"):
        client.snapshot(HubRef("acme/nothing"))
    with pytest.raises(NotFound, match="no branch, tag or commit v9"):
        client.snapshot(HubRef("acme/tiny", "v9"))
    hub.needs_token = "secret"
    with pytest.raises(NotFound, match="HF_TOKEN"):
        client.snapshot(MODEL)
    hub.gated = True
    with pytest.raises(Forbidden, match=f"accepted its terms: do so at {hub.url}/acme/tiny"):
        client.snapshot(MODEL)


def test_a_model_that_was_renamed_is_followed(hub: FakeHub, client: Hub, tmp_path: Path) -> None:
    hub.renamed = "old/name"
    folder = fetched(client, tmp_path, HubRef("old/name", "refs/pr/1"))
    assert (folder / "snapshots" / COMMIT / "model.safetensors").read_bytes() == WEIGHTS
    assert (folder / "refs" / "refs" / "pr" / "1").read_text() == COMMIT


@pytest.mark.parametrize("path", ["../out", "/etc/passwd", "a/../../b", "c:\\x", "a\\b", "a//b", "\0"])
def test_a_path_that_leads_out_is_refused(path: str) -> None:
    with pytest.raises(InvalidData, match="no path inside a model"):
        choose([HubFile(path=path, size=1, etag=None)])


def test_safetensors_are_preferred_where_they_are() -> None:
    names = [
        "a/model.safetensors",
        "a/pytorch_model.bin",
        "a/tf_model.h5",
        "b/pytorch_model.bin",
        "config.json",
        "x.onnx",
    ]
    files = [HubFile(path=name, size=1, etag=None) for name in names]
    assert [file.path for file in choose(files)] == [names[0], names[3], names[4], names[5]]
    assert [file.path for file in choose(files, include=["a/*"], exclude=["*.h5"])] == names[:2]
    with pytest.raises(InvalidData, match="none of the 6 files"):
        choose(files, include=["nothing"])


@pytest.mark.parametrize("text", ["hf:", "hf:a/b/c", "hf:../x", "hf:a/b@", "hf:-a/b", "hf:a b", "hf:a--b/c"])
def test_what_names_no_model_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        HubRef.parse(text)


def test_models_are_named_with_and_without_a_revision() -> None:
    assert HubRef.parse("hf:acme/tiny@v1.0") == HubRef("acme/tiny", "v1.0")
    assert HubRef.parse("gpt2") == HubRef("gpt2", "main")


def test_a_cache_is_read_by_revision_and_checked(hub: FakeHub, client: Hub, tmp_path: Path) -> None:
    folder = fetched(client, tmp_path)
    for opened in (open_cache(folder), open_cache(folder, "main"), open_cache(folder / "snapshots" / COMMIT)):
        assert (opened.repository, opened.commit) == ("acme/tiny", COMMIT)
    snapshot = open_cache(folder)
    weights = next(file for file in snapshot.files if file.path == "model.safetensors")
    blob = path_of(folder, snapshot, weights)
    blob.write_bytes(b"other")
    with pytest.raises(Corrupt):
        path_of(folder, snapshot, weights)
    with pytest.raises(NotFound, match="no revision v2"):
        open_cache(folder, "v2")
    with pytest.raises(InvalidRequest, match="no model in a hub's cache"):
        open_cache(tmp_path)


def test_a_link_out_of_the_cache_is_not_followed(hub: FakeHub, client: Hub, tmp_path: Path) -> None:
    folder = fetched(client, tmp_path / "cache")
    (tmp_path / "secret").write_text("secret")
    (folder / "snapshots" / COMMIT / "stolen.txt").symlink_to(tmp_path / "secret")
    snapshot = open_cache(folder)
    stolen = next(file for file in snapshot.files if file.path == "stolen.txt")
    with pytest.raises(InvalidData, match="no file of this model"):
        path_of(folder, snapshot, stolen)
