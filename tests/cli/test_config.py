"""``mainspring config``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Cli


def test_each_value_is_shown_with_where_it_came_from(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("mainspring.toml").write_text("port = 8800\nlog_level = 'debug'\n")
    monkeypatch.setenv("MAINSPRING_PORT", "8801")
    monkeypatch.setenv("MAINSPRING_DATABASE_URL", "postgresql://me:hidden-word@host/db")
    found = {setting["name"]: setting for setting in cli("config", "--home", "there", "--json").json}
    assert found["port"] == {"name": "port", "value": 8801, "origin": "MAINSPRING_PORT"}
    assert found["log_level"]["origin"].endswith("mainspring.toml")
    assert (found["home"]["value"], found["home"]["origin"]) == ("there", "flag --home")
    assert found["drain_timeout_s"]["origin"] == "default"
    assert "hidden-word" not in cli("config").out


@pytest.mark.parametrize("content", ["port = 'many'", "prot = 1", "port ="])
def test_a_wrong_file_is_named_on_one_line(cli: Cli, content: str) -> None:
    Path("mainspring.toml").write_text(content)
    for arguments in (["config"], ["dataset", "list"], []):
        done = cli(*arguments)
        assert done.code == 2
        assert "mainspring.toml" in done.err
        assert done.err.count("\n") == 1
