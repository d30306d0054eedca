"""Event files as another library writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tensorboardX import SummaryWriter

from mainspring.core.errors import Corrupt, NotFound
from mainspring.importers.tensorboard import TensorBoard, events
from mainspring.importers.writing import Importer
from mainspring.planes.embedded import Platform


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b/deep"):
        with SummaryWriter(str(tmp_path / "logs" / name)) as writer:
            for step in range(20):
                writer.add_scalar("train/loss", 1 / (step + 1), step, walltime=1_790_000_000 + step)
            writer.add_histogram("weights", np.arange(10.0), 3)
            writer.add_text("words", "hello", 3)
    return tmp_path / "logs"


def test_each_folder_is_a_run_and_each_scalar_a_metric(platform: Platform, folder: Path) -> None:
    report = Importer(platform).bring(TensorBoard(folder, "board"))
    assert (report.runs, report.points, report.files) == (2, 40, 2)
    found = {details.run.name: details for details in platform.tracking.search_runs(["board"]).runs}
    assert set(found) == {"a", "b/deep"}
    run = found["a"].run
    history = platform.tracking.metric_history(run.id, "train/loss")
    assert history.steps == list(range(20))
    assert history.values == pytest.approx([1 / (step + 1) for step in range(20)])
    assert history.at_us[-1] == (1_790_000_000 + 19) * 1_000_000
    assert list(found["a"].metrics) == ["train/loss"]
    assert Importer(platform).bring(TensorBoard(folder, "board")).unchanged == 2
    with SummaryWriter(str(folder / "a")) as writer:
        writer.add_scalar("train/loss", 0.01, 20)
    assert Importer(platform).bring(TensorBoard(folder, "board")).runs == 1
    assert platform.tracking.get_run(run.id).metrics["train/loss"].step == 20


def test_an_event_that_is_half_written_is_left_out(folder: Path) -> None:
    file = next(folder.rglob("*tfevents*"))
    whole = list(events(file))
    file.write_bytes(file.read_bytes()[:-5])
    assert list(events(file)) == whole[:-1]


def test_another_file_and_a_folder_without_any_are_told(tmp_path: Path) -> None:
    (tmp_path / "x.tfevents").write_bytes(b"this is something else altogether")
    with pytest.raises(Corrupt):
        list(TensorBoard(tmp_path).runs())
    (tmp_path / "x.tfevents").unlink()
    with pytest.raises(NotFound, match="no event files"):
        list(TensorBoard(tmp_path).runs())
