"""Folders in the layout that DVCLive documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainspring.core.errors import NotFound
from mainspring.importers.dvclive import DvcLive
from mainspring.importers.writing import Importer
from mainspring.planes.embedded import Platform


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run = tmp_path / "dvclive"
    (run / "plots" / "metrics" / "train").mkdir(parents=True)
    (run / "plots" / "metrics" / "train" / "loss.tsv").write_text(
        "timestamp\tstep\tloss\n1790000000000\t0\t0.5\n1790000001000\t1\t0.25\n"
    )
    (run / "plots" / "metrics" / "acc.tsv").write_text("step\tacc\n0\t0.1\n1\t0.2\n")
    (run / "params.yaml").write_text("lr: 0.1\nnet:\n  layers: 3\n")
    (run / "metrics.json").write_text('{"step": 1, "train": {"loss": 0.25}, "acc": 0.2, "size": 7}')
    (run / "plots" / "images").mkdir()
    (run / "plots" / "images" / "a.png").write_bytes(b"drawn")
    return tmp_path


def test_histories_parameters_and_files_come(platform: Platform, folder: Path) -> None:
    report = Importer(platform).bring(DvcLive(folder, "live"))
    assert (report.runs, report.points, report.problems) == (1, 5, [])
    (found,) = platform.tracking.search_runs(["live"]).runs
    assert (found.run.name, found.params) == ("dvclive", {"lr": "0.1", "net.layers": "3"})
    history = platform.tracking.metric_history(found.run.id, "train/loss")
    assert (history.steps, history.values, history.at_us[0]) == ([0, 1], [0.5, 0.25], 1_790_000_000_000_000)
    assert (found.metrics["acc"].step, found.metrics["size"].value) == (1, 7.0)
    paths = [artifact.path for artifact in platform.tracking.list_artifacts(found.run.id)]
    assert paths == ["metrics.json", "params.yaml", "plots/images/a.png"]
    assert Importer(platform).bring(DvcLive(folder, "live")).unchanged == 1


def test_a_folder_that_dvclive_never_saw_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="written nothing"):
        list(DvcLive(tmp_path).runs())
