"""``lineage`` and ``events``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.registry.graphs import matrix_graph


@pytest.fixture(autouse=True)
def deployed(cli: Cli) -> None:
    Path("plant.onnx").write_bytes(matrix_graph())
    assert cli("model", "import", "plant", "plant.onnx").code == 0
    assert cli("deploy", "plant", "model:plant@1").code == 0


def test_a_release_leads_up_to_its_model(cli: Cli) -> None:
    drawn = cli("lineage", "release:plant@1").out.splitlines()
    assert drawn[0] == "release:plant@1"
    assert any(line.startswith("  model:plant@1  <- ") for line in drawn)
    edges = cli("lineage", "release:plant@1", "--json").json["edges"]
    assert ("model:plant@1", "release:plant@1") in {(edge["source"], edge["target"]) for edge in edges}


def test_a_model_leads_down_to_its_release(cli: Cli) -> None:
    assert any(
        line.startswith("  release:plant@1  -> ") for line in cli("lineage", "model:plant@1", "--down").out.splitlines()
    )


def test_events_are_listed_newest_first_with_who_and_from_where(cli: Cli) -> None:
    found = cli("events", "--json").json
    assert [event["at"] for event in found] == sorted((event["at"] for event in found), reverse=True)
    assert {"actor", "origin", "kind", "makes", "reads"} <= set(found[0])
    only = cli("events", "--ref", "model:plant@1", "--kind", "ModelRegistered", "--json").json
    assert [event["kind"] for event in only] == ["ModelRegistered"]
    assert "ModelRegistered" in cli("events").out


def test_a_limit_beyond_reason_is_refused(cli: Cli) -> None:
    assert cli("events", "--limit", "0").code == 2
