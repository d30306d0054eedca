"""Where rooms meet: what one asks for is what the other has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from mainspring.core.errors import Forbidden, InvalidData, NotFound
from mainspring.core.settings import Settings
from mainspring.datasets.expectations import NotNull
from mainspring.planes.adapters import FEATURE_VIEW_TAG, CardRuns, GateRows, ReleasableModels, ServedScorer, hold_during
from mainspring.planes.embedded import Platform
from tests.serving import models


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    with Platform(Settings(home=str(tmp_path / "home"))) as opened:
        assert isinstance(opened, Platform)
        yield opened


def register(platform: Platform, folder: Path, number: int = 1) -> str:
    return platform.import_model("sums", models.sum_model(folder / f"m{number}", number) / "model.onnx").ref


def test_a_release_pins_what_the_registry_knows(platform: Platform, tmp_path: Path) -> None:
    version = platform.registry.resolve(register(platform, tmp_path))
    platform.registry.tag_version("sums", 1, {FEATURE_VIEW_TAG: "feature_view:spending@2"})
    candidate = ReleasableModels(platform.registry).candidate("model:sums@1")
    assert (candidate.model, candidate.digest, candidate.engine) == (version.ref, version.digest, "onnx")
    assert candidate.signature == version.info.signature
    assert candidate.features is not None
    assert candidate.features.view == "feature_view:spending@2"
    with pytest.raises(NotFound):
        ReleasableModels(platform.registry).candidate("model:sums@2")


def test_a_stage_is_that_of_the_version_that_was_named(platform: Platform, tmp_path: Path) -> None:
    for number in (1, 2):
        register(platform, tmp_path, number)
    ReleasableModels(platform.registry).set_stage("model:sums@2", "archived")
    stages = [platform.registry.get_version("sums", number).stage for number in (1, 2)]
    assert stages == ["development", "archived"]


def test_a_version_is_scored_as_it_would_be_served(platform: Platform, tmp_path: Path) -> None:
    version = platform.registry.resolve(register(platform, tmp_path, 2))
    session = ServedScorer(platform.folders).open(version)
    try:
        assert session.predict({"X": [[1.0, 2.0, 3.0]]})["prediction"].tolist() == [[2006.0]]
    finally:
        session.close()


def test_code_of_unknown_origin_is_not_scored(platform: Platform, tmp_path: Path) -> None:
    folder = models.pickled(tmp_path / "pickled", models.Sulky())
    version = platform.import_model("sulky", folder)
    assert not version.trusted
    with pytest.raises(Forbidden):
        ServedScorer(platform.folders).open(version)


def test_triggers_wait_while_a_rollout_of_the_endpoint_goes_on(platform: Platform, tmp_path: Path) -> None:
    first, second = (register(platform, tmp_path, number) for number in (1, 2))
    platform.releases.deploy("sums", first)
    hold = hold_during(platform.rollouts)
    assert hold("sums") is None
    platform.rollouts.start("sums", second)
    assert hold("sums") == f"the rollout of {second} goes on"
    assert hold("others") is None
    platform.rollouts.abort("sums")
    assert hold("sums") is None


def test_policies_are_measured_on_the_rows_of_a_dataset(platform: Platform) -> None:
    rows = GateRows(platform.datasets)
    frame = pl.DataFrame({"x": [1.0, 2.0, 3.0], "town": ["a", "b", "a"], "label": ["yes", None, "no"]})
    version = platform.import_dataset("people", frame)
    found = rows.holdout("dataset:people", "label")
    assert (found.dataset, found.truth) == (version.ref, ["yes", "no"])
    assert list(found.columns["x"]) == [1.0, 3.0]
    assert list(found.groups["town"]) == ["a", "a"]
    with pytest.raises(InvalidData, match="has no column 'age'"):
        rows.holdout("dataset:people@1", "age")
    with pytest.raises(NotFound):
        rows.holdout("dataset:nobody", "label")


def test_the_quality_of_training_data_is_that_of_its_expectations(platform: Platform) -> None:
    rows = GateRows(platform.datasets)
    platform.import_dataset("people", pl.DataFrame({"x": [1.0, 2.0]}))
    known, said = rows.quality("dataset:people@1")
    assert (known, "never held against expectations" in said) == (False, True)
    platform.datasets.set_expectations("people", [NotNull(column="x")])
    platform.import_dataset("people", pl.DataFrame({"x": [1.0, 2.0, 3.0]}))
    assert rows.quality("dataset:people@2")[0]
    assert rows.quality("dataset:nobody@1")[0] is False


def test_a_card_tells_of_the_run_that_was_tracked(platform: Platform) -> None:
    with platform.start_run("churn", "first try", params={"depth": 3}) as run:
        run.log_metric("auc", 0.9)
    facts = CardRuns(platform.tracking).facts(f"run:{run.run}")
    assert facts is not None
    assert (facts.name, facts.experiment, facts.params, facts.metrics) == (
        "first try",
        "churn",
        {"depth": "3"},
        {"auc": 0.9},
    )
    assert any(package.startswith("numpy==") for package in facts.packages)
    assert CardRuns(platform.tracking).facts("run:nobody") is None
