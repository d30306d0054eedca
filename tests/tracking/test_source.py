"""The code of a run is captured as it was, within bounds, and without secrets."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mainspring.tracking.model import SourceCode
from mainspring.tracking.service import Tracking
from mainspring.tracking.source import CaptureLimits, capture_source, looks_secret


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"]
    command = ["git", *who, "-c", "commit.gpgsign=false", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "train.py").write_text("lr = 0.1\n")
    (folder / "config.txt").write_text("a\n")
    (folder / ".gitignore").write_text("ignored/\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def captured(folder: Path, **limits: int) -> SourceCode:
    found = capture_source(folder, CaptureLimits(**limits))
    assert found is not None
    return found


def test_a_clean_tree_is_its_commit(repository: Path) -> None:
    found = captured(repository / "src")
    assert found == SourceCode(git(repository, "rev-parse", "HEAD"), "main", False)


def test_the_diff_and_the_new_files_make_the_tree_again(repository: Path, tmp_path: Path) -> None:
    (repository / "src" / "train.py").write_text("lr = 0.2\n")
    (repository / "config.txt").unlink()
    (repository / "src" / "nöw.py").write_text("x")
    (repository / "ignored").mkdir()
    (repository / "ignored" / "big").write_text("x")
    git(repository, "add", "config.txt")
    found = captured(repository / "src")
    assert found.dirty
    assert [(file.path, file.data) for file in found.untracked] == [("src/nöw.py", b"x")]
    assert found.commit is not None
    git(tmp_path, "clone", "-q", str(repository), "again")
    (tmp_path / "patch").write_bytes(found.diff)
    git(tmp_path / "again", "apply", str(tmp_path / "patch"))
    assert (tmp_path / "again" / "src" / "train.py").read_text() == "lr = 0.2\n"
    assert not (tmp_path / "again" / "config.txt").exists()


@pytest.mark.parametrize(
    "path",
    [".env", "deploy/.env.production", "server.key", "a/cert.pem", "id_rsa", ".aws/credentials", "Secrets/x", ".netrc"],
)
def test_a_file_whose_name_says_secret_is_never_captured(repository: Path, path: str) -> None:
    file = repository / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("hunter2")
    found = captured(repository)
    assert found.untracked == []
    assert found.left_out == [f"{path}: its name says that it may hold secrets"]
    assert found.dirty


def test_a_changed_secret_is_not_in_the_diff(repository: Path) -> None:
    (repository / ".env").write_text("PASSWORD=old\n")
    git(repository, "add", "-f", ".env")
    git(repository, "commit", "-q", "-m", "oops")
    (repository / ".env").write_text("PASSWORD=hunter2\n")
    (repository / "config.txt").write_text("b\n")
    found = captured(repository)
    assert b"hunter2" not in found.diff
    assert b"+b" in found.diff
    assert ".env" in found.left_out[0]


@pytest.mark.parametrize(
    "secret",
    [
        "-----BEGIN RSA PRIVATE KEY-----",
        "key = AKIAIOSFODNN7EXAMPLE",
        "url = 'postgres://user:hunter2@db/x'",
        "token = ghp_" + "a" * 36,
    ],
)
def test_a_file_whose_content_looks_secret_is_left_out(repository: Path, secret: str) -> None:
    (repository / "new.py").write_text(secret)
    (repository / "config.txt").write_text(secret)
    (repository / "src" / "train.py").write_text("lr = 0.3\n")
    found = captured(repository)
    assert found.untracked == []
    assert secret.encode() not in found.diff
    assert b"lr = 0.3" in found.diff
    assert {line.partition(":")[0] for line in found.left_out} == {"new.py", "config.txt"}


def test_what_is_captured_is_bounded(repository: Path) -> None:
    for number in range(5):
        (repository / f"n{number}.txt").write_text("x" * 100)
    (repository / "big.bin").write_bytes(b"x" * 1000)
    (repository / "src" / "train.py").write_text("y\n" * 1_000)
    (repository / "config.txt").write_text("b\n")
    found = captured(repository, max_diff_bytes=1000, max_file_bytes=500, max_files=3, max_total_bytes=250)
    assert [file.path for file in found.untracked] == ["n0.txt", "n1.txt"]
    assert b"+b" in found.diff
    assert len(found.diff) < 1000
    assert any("train.py" in line for line in found.left_out)
    assert any("big.bin" in line for line in found.left_out)


def test_of_an_enormous_diff_the_first_files_are_kept(repository: Path) -> None:
    (repository / "src" / "train.py").write_text("y\n" * 10_000)
    (repository / "config.txt").write_text("b\n")
    found = captured(repository, max_diff_bytes=1000)
    assert b"+b" in found.diff
    assert found.diff.count(b"diff --git") == 1
    assert "cut after 1 files" in found.left_out[0]


def test_links_are_not_followed(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("private")
    (repository / "link").symlink_to(tmp_path / "outside")
    found = captured(repository)
    assert (found.untracked, found.left_out) == ([], ["link: not a plain file"])


def test_every_name_that_git_allows_can_be_recorded(repository: Path, tracking: Tracking) -> None:
    for name in ("with space", "quo'te", "back\\slash", "new\nline", "ünï", "-dash"):
        (repository / name).write_text("x")
    found = captured(repository)
    assert {file.path for file in found.untracked} == {"with space", "quo'te", "ünï", "-dash"}
    assert len(found.left_out) == 2
    run = tracking.create_run("churn").id
    tracking.record_code(run, found)
    assert tracking.read_artifact(run, "code/untracked/ünï") == b"x"


def test_a_repository_without_commits_has_none(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "a.py").write_text("x")
    found = captured(tmp_path)
    assert (found.commit, found.branch, [file.path for file in found.untracked]) == (None, "main", ["a.py"])


def test_a_detached_head_has_no_branch(repository: Path) -> None:
    git(repository, "checkout", "-q", "--detach")
    assert captured(repository).branch is None


def test_outside_of_a_repository_there_is_nothing(tmp_path: Path) -> None:
    assert capture_source(tmp_path) is None


def test_ordinary_names_are_not_secret() -> None:
    for path in ("src/train.py", "environment.yml", "keys.md", "tokenizer.json", "src/envelope.py"):
        assert not looks_secret(path)
