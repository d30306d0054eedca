"""Plain ``mainspring``: what is there and what comes next."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Cli
from tests.registry.graphs import matrix_graph


def test_where_nothing_is_it_shows_how_to_begin_and_makes_nothing(cli: Cli, folder: Path) -> None:
    done = cli()
    assert done.code == 0
    assert "nothing is in" in done.out
    for advised in ("mainspring demo", "mainspring loop run --data", "mainspring dataset import"):
        assert advised in done.out
    assert cli("--json").json["exists"] is False
    assert list(folder.iterdir()) == []


def test_an_empty_folder_stays_empty(cli: Cli) -> None:
    Path("home").mkdir()
    assert cli("--home", "home", "--json").json["exists"] is False
    assert list(Path("home").iterdir()) == []


def test_each_step_is_followed_by_the_next(cli: Cli) -> None:
    Path("trips.csv").write_text("a,b\n1,2\n")
    cli("dataset", "import", "trips", "trips.csv")
    assert "mainspring loop run" in cli("--json").json["next"][0]
    Path("plant.onnx").write_bytes(matrix_graph())
    cli("model", "import", "plant", "plant.onnx")
    assert cli("--json").json["next"] == ["mainspring deploy plant model:plant@1"]
    cli("deploy", "plant", "model:plant@1")
    assert cli("--json").json["next"] == ["mainspring up"]
    cli("deploy", "plant", "model:plant@1", "--canary", "0.1")
    assert cli("--json").json["next"] == ["mainspring up", "mainspring rollout status plant"]


def test_it_lists_datasets_models_with_champion_and_endpoints_with_canary(cli: Cli) -> None:
    Path("trips.csv").write_text("a,b\n1,2\n")
    cli("dataset", "import", "trips", "trips.csv")
    Path("plant.onnx").write_bytes(matrix_graph())
    cli("model", "import", "plant", "plant.onnx")
    cli("model", "set-alias", "plant", "champion", "1")
    cli("deploy", "plant", "model:plant@1")
    cli("deploy", "plant", "model:plant@1", "--canary", "0.1")
    seen = cli("--json").json
    assert seen["datasets"] == [{"dataset": "dataset:trips@1", "rows": 1, "quarantined": 0}]
    assert seen["models"] == [{"model": "plant", "latest": 1, "champion": 1}]
    assert seen["endpoints"][0]["release"] == "release:plant@1"
    assert seen["endpoints"][0]["canary"] == "release:plant@2"
    assert (seen["running"], seen["alarms"], seen["jobs"]) == (False, [], [])
    assert "release:plant@2" in cli().out


def test_a_quarantined_file_alone_is_no_version(cli: Cli) -> None:
    cli("dataset", "set-expectations", "trips", '[{"check": "row_count", "low": 5}]')
    Path("trips.csv").write_text("a,b\n1,2\n")
    assert cli("dataset", "import", "trips", "trips.csv").code == 5
    assert cli("--json").json["datasets"] == [{"dataset": "dataset:trips", "rows": 0, "quarantined": 1}]
