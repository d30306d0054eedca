"""``mainspring gc``: what would go, and what went, also in several turns."""

from __future__ import annotations

import pytest

import mainspring.cli.garbage
from tests.cli.conftest import Cli


def test_gc_shows_what_would_go_and_removes_it_in_turns(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mainspring.cli.garbage, "_TURN_S", 0.0)
    ids = [cli("run", "create", "e", "--json").json["id"] for _ in range(3)]
    for run in ids[:2]:
        cli("run", "log-metric", run, "loss", "0.5")
        assert cli("run", "delete", run).code == 0
    assert cli("gc", "--json").json["runs"] == 0
    planned = cli("gc", "--older-than", "0s", "--dry-run", "--json").json
    assert (planned["runs"], planned["metric_points"], planned["dry_run"]) == (2, 2, True)
    assert cli("gc", "--runs", ids[2]).code == 4
    done = cli("gc", "--runs", ids[0], "--json").json
    assert (done["runs"], done["finished"]) == (1, True)
    assert cli("experiment", "delete", "e").code == 0
    assert cli("gc", "--experiments", "e", "--json").json["experiments"] == 1
    assert cli("run", "get", ids[1]).code == 3
    assert cli("experiment", "create", "e").code == 0
