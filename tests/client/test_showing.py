"""Media and alerts go the way of everything that is logged: they never wait, and arrive once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mainspring
from mainspring.core.errors import InvalidRequest
from tests.client.scripts import Script


def test_media_are_logged_like_numbers_and_listed_by_key_and_step(tmp_path: Path) -> None:
    with mainspring.open(str(tmp_path / "home")) as session:
        run = session.start_run("churn", capture="none")
        for step in range(2):
            pixels = np.full((4, 4), step, dtype=np.uint8)
            run.log({"loss": 0.5, "valid/sample": [mainspring.Image(pixels, "a"), mainspring.Image(pixels + 1, "b")]})
        run.log({"note": mainspring.Text("hello"), "big": mainspring.Audio(np.zeros(400_000), rate=8_000)}, step=5)
        found = run.media("valid/sample")
        assert [(item.step, item.number, item.caption) for item in found] == [
            (0, 0, "a"),
            (0, 1, "b"),
            (1, 0, "a"),
            (1, 1, "b"),
        ]
        assert {(item.kind, *item.shape) for item in found} == {("image", 4, 4, 1)}
        for item in run.media():
            artifact = session.tracking.get_artifact(run.run, item.path)
            assert (artifact.digest, artifact.size) == (item.digest, item.size)
        keys = session.media.media_keys(run.run)
        assert [(key.key, key.kind, key.items, key.last_step) for key in keys] == [
            ("big", "audio", 1, 5),
            ("note", "text", 1, 5),
            ("valid/sample", "image", 4, 1),
        ]
        assert session.tracking.get_run(run.run).tags["mlflow.loggedImages"] == "true"
        assert session.tracking.metric_history(run.run, "loss").steps == [0, 1]
        assert run.end()


def test_of_a_call_with_a_medium_that_cannot_be_nothing_is_logged(tmp_path: Path) -> None:
    with mainspring.open(str(tmp_path / "home")) as session:
        with session.start_run("churn", capture="none") as run, pytest.raises(InvalidRequest):
            run.log({"loss": 1.0, "good": mainspring.Text("x"), "bad": mainspring.Image(np.zeros(3))})
        assert session.tracking.get_run(run.run).metrics == {}
        assert session.media.list_media(run.run).items == []


OFFLINE = """
import mainspring
with mainspring.start_run("churn", mode="offline") as run:
    run.log({"table": mainspring.Table([[1, "x"]], columns=["n", "s"])})
    run.log({"blob": mainspring.Text("x" * 500_000)})
    assert run.alert("loss is NaN", "at step 3", level="error", wait_s=60.0)
    assert not run.alert("loss is NaN", wait_s=60.0)
    assert run.alert("something else", wait_s=60.0)
print(run.run)
"""


def test_media_and_alerts_that_were_logged_offline_arrive_once_however_often_they_are_sent(tmp_path: Path) -> None:
    script = Script(tmp_path)
    (run,) = script.run(OFFLINE)
    for keep in (["--keep"], ["--keep"], []):
        subprocess.run(
            [sys.executable, "-m", "mainspring", "sync", *keep], check=True, cwd=tmp_path, env=script.variables
        )
    with mainspring.open(str(tmp_path / ".mainspring")) as session:
        assert [item.key for item in session.media.list_media(run).items] == ["blob", "table"]
        alerts = session.alerts.list_alerts(run)
        assert [(alert.level, alert.title, alert.text) for alert in alerts] == [
            ("warning", "something else", ""),
            ("error", "loss is NaN", "at step 3"),
        ]


def test_an_alert_that_cannot_be_is_refused_at_once(tmp_path: Path) -> None:
    with mainspring.start_run("churn", mode="offline", folder=str(tmp_path), capture="none") as run:
        for wrong in ("", "  ", "x" * 251):
            with pytest.raises(InvalidRequest, match="title"):
                run.alert(wrong)
