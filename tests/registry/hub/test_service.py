"""A hub's model becomes a version with its card, licence and origin; a dangerous pickle in it becomes none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mainspring.client.session import Session
from mainspring.core.errors import InvalidRequest, NotFound, UnsafeModel
from mainspring.core.settings import Settings
from mainspring.planes.embedded import Platform
from tests.cli.conftest import Cli, cli, folder  # noqa: F401
from tests.registry.hub.hub_server import COMMIT, FakeHub, fake_hub
from tests.registry.scanning.payloads import SYSTEM

README = b"---\nlicense: apache-2.0\nlanguage: en\n---\n# Tiny\n\nTells nothing.\n"


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with fake_hub() as served:
        served.files = {"README.md": README, "config.json": b"{}", "model.safetensors": bytes(5000)}
        yield served


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with Platform(Settings(home=str(tmp_path / "home"))) as opened:
        yield opened


def test_a_version_has_the_card_the_licence_and_the_origin_of_the_hub(hub: FakeHub, session: Session) -> None:
    made = session.import_hub_model("tiny", "hf:acme/tiny", endpoint=hub.url)
    assert (made.source, made.card, made.engine) == (f"hf:acme/tiny@{COMMIT}", README.decode(), None)
    assert made.tags == {"license": "apache-2.0", "origin": f"hf:acme/tiny@{COMMIT}"}
    files = {file.path: file.size for file in session.cards.list_files("tiny", 1)}
    assert files == {"README.md": len(README), "config.json": 2, "model.safetensors": 5000}
    assert session.scans.get_scan("tiny", 1).verdict == "clean"
    card = session.cards.make_card("tiny", 1).text
    assert "language: en" in card
    assert f"origin: hf:acme/tiny@{COMMIT}" in card


def test_the_cache_of_the_hub_is_a_source_too(hub: FakeHub, session: Session, tmp_path: Path) -> None:
    first = session.import_hub_model("tiny", "hf:acme/tiny", endpoint=hub.url)
    cache = tmp_path / "home" / "hub" / "models--acme--tiny"
    asked = len(hub.asked)
    again = session.import_hub_model("tiny", cache)
    named = session.import_hub_model("tiny", f"{cache}@main")
    assert {again.digest, named.digest} == {first.digest}
    assert again.tags["license"] == "apache-2.0"
    assert len(hub.asked) == asked
    with pytest.raises(NotFound, match="no revision v3"):
        session.import_hub_model("tiny", f"{cache}@v3")
    with pytest.raises(InvalidRequest, match="no model in a hub's cache"):
        session.import_hub_model("tiny", tmp_path)


def test_a_dangerous_pickle_of_the_hub_becomes_no_version(hub: FakeHub, session: Session) -> None:
    hub.files["extra.bin"] = SYSTEM
    with pytest.raises(UnsafeModel, match=r"extra\.bin calls posix\.system"):
        session.import_hub_model("tiny", "hf:acme/tiny", endpoint=hub.url)
    made = session.import_hub_model("tiny", "hf:acme/tiny", endpoint=hub.url, exclude=["*.bin"])
    assert made.version == 1


def test_an_origin_is_said(session: Session) -> None:
    digest = session.objects.put_bytes(b"x")
    with pytest.raises(InvalidRequest, match="expected hf:ORG/NAME@COMMIT"):
        session.hub.register_hub_model("tiny", digest, "somewhere")


def test_the_command_takes_a_model_of_the_hub(hub: FakeHub, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    done = cli("model", "import", "tiny", "--from", f"hf:acme/tiny@{COMMIT}", "--json")
    assert (done.code, done.json["ref"]) == (0, "model:tiny@1"), done.err
    shown = cli("model", "import", "tiny", "--from", "hf:acme/tiny", "--exclude", "config.json")
    assert "licence: apache-2.0" in shown.out
    assert cli("model", "import", "tiny").code == 2
    gated = cli("model", "import", "tiny", "--from", "hf:acme/tiny@v9")
    assert (gated.code, "no branch, tag or commit v9" in gated.err) == (3, True)
