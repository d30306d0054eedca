"""``deploy`` and ``rollback``, with and without a running platform."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import msgspec
import pytest

from mainspring.planes.up import Running
from tests.cli.conftest import Cli, command
from tests.registry.graphs import columns_folder, matrix_graph

ONE_ROW = {"inputs": [{"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}


@pytest.fixture
def two_versions(cli: Cli) -> None:
    for classes in (3, 4):
        Path("plant.onnx").write_bytes(matrix_graph(classes))
        assert cli("model", "import", "plant", "plant.onnx").code == 0


@pytest.fixture
def running(folder: Path) -> Iterator[Running]:
    """A platform on the default home of the folder."""
    child = subprocess.Popen(
        command("up", "--port", "0", "--data-port", "0", "--json"), stdout=subprocess.PIPE, cwd=folder
    )
    assert child.stdout is not None
    yield msgspec.json.decode(child.stdout.readline(), type=Running)
    child.terminate()
    child.stdout.close()
    assert child.wait(60) == 0


def _served(url: str) -> str:
    answer = httpx2.post(url, json=ONE_ROW)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["model_version"])


@pytest.mark.usefixtures("two_versions")
def test_without_a_platform_a_deploy_is_recorded_and_said_to_be_no_more(cli: Cli) -> None:
    done = cli("deploy", "plant", "model:plant@1")
    assert done.code == 0, done.err
    assert "release:plant@1 with model:plant@1" in done.out
    assert "`mainspring up` serves it" in done.out


@pytest.mark.usefixtures("two_versions")
def test_a_rollback_restores_the_release_before_or_the_one_named(cli: Cli) -> None:
    for version in (1, 2, 1):
        assert cli("deploy", "plant", f"model:plant@{version}").code == 0
    back = cli("rollback", "plant", "--reason", "too many refusals", "--json").json
    assert (back["release"], back["model"]) == ("release:plant@2", "model:plant@2")
    assert cli("rollback", "plant", "--to", "1", "--json").json["release"] == "release:plant@1"
    assert cli("endpoint", "history", "plant", "--json").json[1]["reason"] == "too many refusals"


@pytest.mark.usefixtures("two_versions")
def test_a_rollback_with_nothing_before_is_a_conflict(cli: Cli) -> None:
    cli("deploy", "plant", "model:plant@1")
    assert cli("rollback", "plant").code == 4


@pytest.mark.usefixtures("two_versions")
def test_a_canary_needs_a_stable_release(cli: Cli) -> None:
    assert cli("deploy", "plant", "model:plant@1", "--canary", "0.1").code == 4


@pytest.mark.usefixtures("two_versions")
def test_when_deploy_and_rollback_return_the_data_plane_serves_it(cli: Cli, running: Running) -> None:
    first = cli("deploy", "plant", "model:plant@1", "--json").json
    assert first["url"] == f"{running.data}/v2/models/plant/infer"
    assert _served(first["url"]) == "1"
    second = cli("deploy", "plant", "plant", "--json").json
    assert second["model"] == "model:plant@2"
    assert _served(first["url"]) == "2"
    assert cli("rollback", "plant").code == 0
    assert _served(first["url"]) == "1"
    canary = cli("deploy", "plant", "model:plant@2", "--canary", "0.25")
    assert "canary: release:plant@3 with model:plant@2, for 25.0% of the units" in canary.out
    assert cli("--json").json["urls"] == {"control": running.control, "data": running.data}
    assert cli("status", "--json").json["running"] is True


def test_a_feature_view_is_pinned_and_told(cli: Cli, folder: Path) -> None:
    Path("trips.csv").write_text("who,at,x,town\nada,2026-01-01T10:00:00Z,1.5,Ulm\nbob,2026-01-01T11:00:00Z,2.5,Bonn\n")
    assert cli("dataset", "import", "trips", "trips.csv").code == 0
    columns_folder(folder / "told")
    assert cli("model", "import", "told", "told").code == 0
    definition = ("dataset:trips", "who", "at", '[{"name": "x", "column": "x"}, {"name": "town", "column": "town"}]')
    defined = cli("feature", "define", "people", *definition)
    assert defined.code == 0, defined.err
    refused = cli("deploy", "told", "told", "--features", "people")
    assert refused.code == 4
    assert "`mainspring feature materialise people 1`" in refused.err
    assert cli("feature", "materialise", "people", "1").code == 0
    done = cli("deploy", "told", "told", "--features", "feature_view:people@1")
    assert "features: feature_view:people@1 by the column who" in done.out
    renamed = cli("deploy", "told", "told", "--features", "people", "--feature-key", "person", "--json").json
    assert (renamed["features"], renamed["feature_key"]) == ("feature_view:people@1", "person")
    assert cli("rollback", "told", "--json").json["feature_key"] == "who"
    assert cli("deploy", "told", "told", "--feature-key", "who").code == 2


@pytest.mark.usefixtures("two_versions")
def test_a_model_that_the_data_plane_cannot_load_is_told(cli: Cli, running: Running) -> None:
    assert cli("deploy", "plant", "model:plant@1").code == 0
    for graph in Path(".mainspring/models").rglob("*.onnx"):
        known = graph.read_bytes()
    digest = cli("model", "version", "plant", "2", "--json").json["digest"].removeprefix("sha256:")
    broken = Path(".mainspring/models") / digest
    broken.mkdir()
    (broken / "model.onnx").write_bytes(known[:100])
    done = cli("deploy", "plant", "model:plant@2")
    assert done.code == 6
    assert "release:plant@2 is recorded, but the data plane cannot load it" in done.err
    assert done.err.count("\n") == 1
    assert _served(f"{running.data}/v2/models/plant/infer") == "1"
