"""Secrets at rest: unreadable without the key, unusable elsewhere, and a key that only its owner reads."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mainspring.core.errors import Corrupt, Unavailable
from mainspring.storage.secrets import SecretBox


@pytest.fixture
def box(tmp_path: Path) -> SecretBox:
    return SecretBox(tmp_path / "secret.key")


@pytest.mark.parametrize("secret", ["", "s", "ż" * 33, "x" * 1000])
def test_what_was_sealed_is_opened_also_by_a_later_process(box: SecretBox, tmp_path: Path, secret: str) -> None:
    sealed = box.seal(secret, "webhook:1")
    assert SecretBox(tmp_path / "secret.key").open(sealed, "webhook:1") == secret


def test_a_sealed_secret_does_not_show_it_and_never_looks_the_same(box: SecretBox) -> None:
    first, second = box.seal("open sesame", "a"), box.seal("open sesame", "a")
    assert first != second
    assert "open" not in first


def test_what_was_changed_moved_or_sealed_with_another_key_is_refused(box: SecretBox, tmp_path: Path) -> None:
    sealed = box.seal("open sesame", "webhook:1")
    for at in (4, len(sealed) // 2, len(sealed) - 3):
        other = "A" if sealed[at] != "A" else "B"
        with pytest.raises(Corrupt):
            box.open(sealed[:at] + other + sealed[at + 1 :], "webhook:1")
    with pytest.raises(Corrupt):
        box.open(sealed, "webhook:2")
    for damaged in ("", "v1:", "v2:" + sealed[3:], sealed[:40], "v1:!"):
        with pytest.raises(Corrupt):
            box.open(damaged, "webhook:1")
    stranger = SecretBox(tmp_path / "other.key")
    stranger.seal("x", "webhook:1")
    with pytest.raises(Corrupt, match="another key"):
        stranger.open(sealed, "webhook:1")


def test_the_key_is_made_when_it_is_needed_and_its_owner_s_alone(box: SecretBox, tmp_path: Path) -> None:
    file = tmp_path / "secret.key"
    with pytest.raises(Unavailable, match="is not there"):
        box.open("v1:" + "A" * 100, "a")
    assert not file.exists()
    sealed = box.seal("open sesame", "a")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret.key"]
    file.chmod(0o644)
    with pytest.raises(Unavailable, match="chmod 600"):
        SecretBox(file).open(sealed, "a")
    file.chmod(0o600)
    file.write_text("nothing")
    with pytest.raises(Corrupt, match="no key"):
        SecretBox(file).seal("x", "a")


def test_processes_that_make_the_key_at_once_use_the_same(tmp_path: Path) -> None:
    file = tmp_path / "secret.key"
    script = "import sys; from mainspring.storage.secrets import *; print(SecretBox(Path(sys.argv[1])).seal('x', 'a'))"
    made = [
        subprocess.Popen([sys.executable, "-c", script, str(file)], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    sealed = [process.communicate(timeout=60)[0].strip() for process in made]
    assert [SecretBox(file).open(one, "a") for one in sealed] == ["x"] * 4
