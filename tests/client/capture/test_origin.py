"""What a run was started with is recorded, without the secrets in it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import mainspring
from mainspring.client.capture.origin import without_secrets
from mainspring.client.capture.watchers import Captures
from mainspring.core.errors import InvalidRequest
from tests.client.scripts import Script

LOG = """
import mainspring
with mainspring.start_run("churn") as run:
    print(run.run)
"""


def test_command_script_and_environment_are_recorded_by_default(tmp_path: Path) -> None:
    (run,) = Script(tmp_path, capture="command,environment,code").run(LOG, "--lr", "0.1", "--api-key", "hush")
    with mainspring.open(str(tmp_path / ".mainspring")) as session:
        tags = session.tracking.get_run(run).tags
        assert tags["mainspring.command"] == f"{sys.executable} {tmp_path}/script.py --lr 0.1 --api-key '***'"
        assert tags["mlflow.source.name"] == str(tmp_path / "script.py")
        assert tags["mainspring.folder"] == str(tmp_path)
        assert session.tracking.get_environment(run).packages
        assert session.tracking.read_artifact(run, "code/script.py").decode() == LOG


def test_nothing_is_recorded_when_nothing_is_wanted(tmp_path: Path) -> None:
    (run,) = Script(tmp_path, capture="none").run(LOG)
    with mainspring.open(str(tmp_path / ".mainspring")) as session:
        assert session.tracking.get_run(run).tags == {}
        assert session.tracking.list_artifacts(run) == []


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (["--password", "hush", "--lr", "1"], ["--password", "***", "--lr", "1"]),
        (["--db-password=hush"], ["--db-password=***"]),
        (["API_KEY=hush", "x"], ["API_KEY=***", "x"]),
        (["postgresql://me:hush@host/db"], ["postgresql://me:***@host/db"]),
        (["https://host/path"], ["https://host/path"]),
        (["--token", "--verbose"], ["--token", "--verbose"]),
        (["key", "hf_" + "a" * 30], ["key", "***"]),
        (["--max-tokens", "12"], ["--max-tokens", "12"]),
    ],
)
def test_what_looks_like_a_secret_is_hidden(given: list[str], shown: list[str]) -> None:
    assert without_secrets(given) == shown


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("all", {"command", "environment", "code", "output", "system"}),
        ("none", set()),
        ("code, system", {"code", "system"}),
        ("-output", {"command", "environment", "code", "system"}),
        ("all,-code,-output", {"command", "environment", "system"}),
    ],
)
def test_what_is_captured_is_written_in_words(text: str, names: set[str]) -> None:
    assert Captures.parse(text).names == names


def test_a_word_that_says_nothing_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="thoughts"):
        Captures.parse("code,thoughts")
