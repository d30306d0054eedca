"""A file that Weights & Biases' own client wrote offline; its records lie across several blocks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mainspring.core.errors import Corrupt, NotFound
from mainspring.importers.wandb import WandbRuns, records
from mainspring.importers.writing import Importer
from mainspring.planes.embedded import Platform

FILE = Path(__file__).parent / "files" / "run-abc12345.wandb"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run = tmp_path / "wandb" / "offline-run-20261121_172100-abc12345"
    (run / "files").mkdir(parents=True)
    (run / "files" / "model.txt").write_text("weights")
    shutil.copy(FILE, run)
    return tmp_path


def test_a_run_comes_with_its_configuration_histories_summary_and_files(platform: Platform, folder: Path) -> None:
    report = Importer(platform).bring(WandbRuns(folder))
    assert (report.runs, report.files, report.problems) == (1, 1, [])
    found = platform.tracking.get_run("wandb-abc12345")
    assert (found.run.experiment, found.run.name, found.run.status) == ("churn", "first", "failed")
    assert found.params == {"lr": "0.1", "opt.name": "adam", "layers": "[1,2]"}
    assert found.tags.items() >= {"wandb.group": "g", "wandb.tag.a": "true", "mlflow.note.content": "a note"}.items()
    history = platform.tracking.metric_history(found.run.id, "loss")
    assert history.steps == list(range(40))
    assert history.values == [1 / (step + 1) for step in range(40)]
    assert found.metrics["nested.acc"].value == 39 / 40
    assert found.metrics["odd"].value == "nan"
    assert found.metrics["best"].value == 0.5
    assert found.run.ended is not None
    assert found.run.started < found.run.ended
    assert Importer(platform).bring(WandbRuns(folder)).unchanged == 1


def test_what_a_killed_process_left_half_written_is_left_out(folder: Path) -> None:
    whole = FILE.read_bytes()
    file = next(folder.rglob("*.wandb"))
    all_of_it = list(records(file))
    seen = []
    for size in range(7, len(whole), 4001):
        file.write_bytes(whole[:size])
        found = list(records(file))
        assert found == all_of_it[: len(found)]
        seen.append(len(found))
    assert seen == sorted(seen)
    assert seen[-1] > len(all_of_it) // 2


def test_a_file_of_another_kind_and_a_folder_without_runs_are_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"end in \.wandb"):
        list(WandbRuns(tmp_path).runs())
    (tmp_path / "a.wandb").write_bytes(b"something else")
    with pytest.raises(Corrupt, match="no file of Weights & Biases"):
        list(WandbRuns(tmp_path).runs())
    with pytest.raises(NotFound, match="no folder"):
        WandbRuns(tmp_path / "none")
