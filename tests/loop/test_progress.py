"""A turn that was broken off goes on; another one begins anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from mainspring.core.settings import Settings
from mainspring.loop.model import WindowQuality
from mainspring.loop.narrator import Silent
from mainspring.loop.progress import Journal, Part, Progress, fingerprint, unfinished
from mainspring.loop.table import split
from mainspring.loop.traffic import Served
from mainspring.loop.turn import Request, turn
from mainspring.loop.wire import Reply
from tests.loop import tables

FRAME = pl.DataFrame({"a": range(200), "t": range(200), "y": [0, 1] * 100})
PROGRESS = Progress(
    fingerprint="f",
    name="n",
    dataset="dataset:n@1",
    champion="model:n@1",
    windows=[WindowQuality(window=0, rows=(0, 25), live=0.5, frozen=None, releases=["release:n@1"])],
    notes=[],
    alarms=[],
    retrainings=[],
    decisions=[],
    posted=3,
    told=[("release:n@1", "nulls", "a")],
    checked=["r"],
    regular=False,
    stages={"serve": 1.0},
    seconds=2.0,
)


def test_what_was_written_is_found_by_its_fingerprint_until_it_is_removed(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "n")
    part = Part([Served("p", "stable", "release:n@1", 1, [0.1, 0.9]), Served(None)], [Reply(200, b"", 0.1)])
    journal.write(PROGRESS, part)
    assert unfinished(tmp_path, "f") == PROGRESS
    assert unfinished(tmp_path, "g") is None
    assert journal.parts(PROGRESS) == [part]
    journal.remove()
    assert unfinished(tmp_path, "f") is None


def test_a_damaged_progress_is_passed_over(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "n")
    journal.write(PROGRESS, Part([], []))
    (tmp_path / "loop/n/progress.json").write_bytes(b'{"fingerprint":')
    assert unfinished(tmp_path, "f") is None


@pytest.mark.parametrize(
    "other",
    [
        split(FRAME.reverse(), "y", time=None),
        split(FRAME.with_columns(a=pl.col("a") + 1), "y", time=None),
        split(FRAME.rename({"a": "b"}), "y", time=None),
        split(FRAME, "y", time="t"),
        split(FRAME, "y", time=None, key="a"),
    ],
)
def test_other_rows_or_arguments_are_another_turn(other: Any) -> None:
    mine = fingerprint(split(FRAME, "y", time=None), Request(name="n"))
    assert fingerprint(split(FRAME.clone(), "y", time=None), Request(name="n")) == mine
    assert fingerprint(other, Request(name="n")) != mine
    assert fingerprint(split(FRAME, "y", time=None), Request(name="n", seed=1)) != mine


class Interrupting(Silent):
    """Breaks off after some windows, as a signal would."""

    def progress(self, stage: str, text: str) -> None:
        if text.startswith("window 9 of"):
            raise KeyboardInterrupt


@pytest.mark.slow
def test_a_turn_that_was_broken_off_goes_on_after_its_last_whole_window(tmp_path: Path) -> None:
    """Slow: it starts a platform twice."""
    table = split(tables.independent(1_000, seed=1), "class", time=None)
    with pytest.raises(KeyboardInterrupt):
        turn(Settings(home=tmp_path), table, Request(name="twice"), Interrupting())
    report = turn(Settings(home=tmp_path), table, Request(name="twice"), Silent())
    assert report.name == "twice"
    assert [one.window for one in report.windows] == list(range(len(table.windows)))
    assert (report.requests.rows, report.requests.failed) == (table.later.height, 0)
    assert "the turn was taken up again after window 8" in report.notes
    assert msgspec.json.encode(report)
    assert unfinished(tmp_path, fingerprint(table, Request(name="twice"))) is None
