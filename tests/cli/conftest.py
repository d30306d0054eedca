"""The command line in this process, and as a process of its own; both in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from mainspring.cli.main import run


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document that was printed."""
        return msgspec.json.decode(self.out)


Cli = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, without settings from outside."""
    for name in [name for name in os.environ if name.startswith("MAINSPRING_")]:
        monkeypatch.delenv(name)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def cli(folder: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """The command line in this process."""

    def call(*arguments: str) -> Outcome:
        capsys.readouterr()
        code = run(list(arguments))
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    return call


def command(*arguments: str) -> list[str]:
    """The command line as a process."""
    return [sys.executable, "-m", "mainspring", *arguments]


@pytest.fixture
def process(folder: Path) -> Cli:
    """The command line as a process of its own."""

    def call(*arguments: str, within_s: float = 60) -> Outcome:
        done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=within_s, cwd=folder)
        return Outcome(done.returncode, done.stdout, done.stderr)

    return call
