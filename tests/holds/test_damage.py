"""Disks that fill up and bytes that rot: what was acknowledged stays, the rest is told, and service goes on."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import polars as pl
import psutil
import pytest

from mainspring.core.errors import MainspringError, Unavailable
from tests.holds.running import Up, eventually
from tests.serving import models

NAME = "sums"
DISK_BYTES = 48 * 2**20


class Disk:
    """A disk of its own for a home, where this user may mount one; else a limit on the files of its processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
        self.mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0

    def close(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.folder)], check=True)

    @contextmanager
    def full(self, processes: list[psutil.Process]) -> Iterator[None]:
        """Nothing more can be written during the block."""
        if not self.mounted:
            with _limited(processes):
                yield
            return
        filler = self.folder / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(b"\0" * 4096):
                pass
        yield
        filler.unlink()


@contextmanager
def _limited(processes: list[psutil.Process]) -> Iterator[None]:
    before = {process.pid: resource.prlimit(process.pid, resource.RLIMIT_FSIZE) for process in processes}
    for pid, (_, hard) in before.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    yield
    for pid, limits in before.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk")
    yield made
    made.close()


@pytest.fixture
def up(disk: Disk) -> Iterator[Up]:
    made = Up(disk.folder / "home", policy_interval_s=0, ingest_interval_s=0.1)
    yield made
    made.close()


def deploy(up: Up, folder: Path) -> None:
    """Serve a small model as the endpoint ``sums``."""
    version = up.call(lambda s: s.import_model(NAME, models.sum_model(folder / "model") / "model.onnx", token="m"))
    up.call(lambda s: s.releases.deploy(NAME, version.ref, token="d"))
    eventually(lambda: is_served(up), "it is not served")


def is_served(up: Up) -> bool:
    return httpx2.get(f"{up.data}/v2/models/{NAME}/ready").status_code == 200


def predict(up: Up) -> httpx2.Response:
    return httpx2.post(f"{up.data}/endpoints/{NAME}/invocations", json={"instances": [[1, 2, 3]]}, timeout=20)


def label(up: Up, id: str) -> httpx2.Response:
    body = {"labels": [{"id": id, "value": 6.0}]}
    return httpx2.post(f"{up.data}/v2/endpoints/{NAME}/labels", json=body, timeout=20)


def taken_in(up: Up, predictions: int, labels: int) -> bool:
    counts = up.call(lambda s: s.predictions.log_counts(NAME))
    return (counts.predictions, counts.labels) == (predictions, labels)


def test_a_full_disk_is_told_and_nothing_acknowledged_is_lost(up: Up, disk: Disk, tmp_path: Path) -> None:
    up.start()
    deploy(up, tmp_path)
    answered = [predict(up).headers["x-prediction-id"] for _ in range(20)]
    assert all(label(up, id).status_code == 200 for id in answered)
    labelled = len(answered)
    with disk.full(up.processes()):
        # The segment has room for some more until a block is needed; then it is refused, and says why.
        refused = eventually(lambda: _refused(up, answered), "predictions go on without a log")
        assert refused.status_code == 503
        assert ("free some space" if disk.mounted else "cannot be written") in refused.text
        with pytest.raises(MainspringError) as told:
            assert up.session is not None
            up.session.import_dataset("rows", pl.DataFrame({"a": list(range(300_000))}), check=False)
        assert isinstance(told.value, Unavailable), told.value
        assert any(word in str(told.value) for word in ("full", "space", "too large", "disk")), told.value
        assert httpx2.get(f"{up.data}/v2/health/live").status_code == 200
    eventually(lambda: predict_into(up, answered), "it does not serve when there is room again")
    assert label(up, answered[-1]).status_code == 200
    version = up.call(lambda s: s.import_dataset("rows", pl.DataFrame({"a": list(range(1000))}), check=False))
    assert version.rows == 1000
    eventually(
        lambda: taken_in(up, len(answered), labelled + 1),
        lambda: (up.call(lambda s: s.predictions.log_counts(NAME)), len(answered), labelled + 1),
    )
    assert up.call(lambda s: s.predictions.damages()) == []
    assert up.stop() == 0
    with sqlite3.connect(up.home / "mainspring.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def _refused(up: Up, answered: list[str]) -> httpx2.Response | None:
    answer = predict(up)
    if answer.status_code != 200:
        return answer
    answered.append(answer.headers["x-prediction-id"])
    return None


def predict_into(up: Up, answered: list[str]) -> bool:
    return _refused(up, answered) is None


def test_a_corrupt_segment_is_kept_apart_and_reported_and_the_rest_is_taken_in(tmp_path: Path) -> None:
    up = Up(tmp_path / "home", policy_interval_s=0, ingest_interval_s=3600)
    try:
        up.start()
        deploy(up, tmp_path)
        answered = [predict(up).headers["x-prediction-id"] for _ in range(60)]
        assert up.stop() == 0
        segments = sorted((up.home / "spool" / "data-1").glob("*.seg"))
        largest = max(segments, key=lambda file: file.stat().st_size)
        rot(largest)
        up.variables["MAINSPRING_INGEST_INTERVAL_S"] = "0.1"
        up.start()
        (damage,) = eventually(lambda: up.call(lambda s: s.predictions.damages()), "no damage is reported")
        assert damage.kind == "corrupt"
        assert Path(damage.kept).read_bytes()
        assert 0 < (damage.records or 0) <= 60
        eventually(lambda: taken_in(up, 60 - (damage.records or 0), 0), lambda: damage)
        # What comes after is taken in as ever.
        answered.append(predict(up).headers["x-prediction-id"])
        eventually(lambda: taken_in(up, 61 - (damage.records or 0), 0))
    finally:
        up.close()


def rot(file: Path) -> None:
    """Change one byte in the middle."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)


@pytest.mark.parametrize("which", ["newest", "every"])
def test_corrupt_snapshots_are_passed_over_and_published_again(tmp_path: Path, which: str) -> None:
    up = Up(tmp_path / "home", policy_interval_s=0)
    try:
        up.start()
        deploy(up, tmp_path)
        assert up.stop() == 0
        snapshots = sorted((up.home / "snapshots").glob("*.snap"))
        for file in snapshots if which == "every" else snapshots[-1:]:
            rot(file)
        up.start()
        eventually(lambda: is_served(up), "it is not served again")
        assert predict(up).status_code == 200
    finally:
        up.close()
