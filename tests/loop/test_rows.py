"""What is learned from, and what is set aside."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from mainspring.datasets.arrays import arrays_of
from mainspring.loop.rows import blocks_aside, logged_rows, newest_aside
from mainspring.loop.table import split
from mainspring.predictions.log import Logged

START = datetime(2024, 1, 1, tzinfo=UTC)


def logged(features: pl.DataFrame, labels: list[str]) -> Logged:
    count = features.height
    rows = pl.DataFrame(
        {
            "prediction_id": [f"p{number}" for number in range(count)],
            "at": [START] * count,
            "event_time": [START + timedelta(hours=count - number) for number in range(count)],
            "label": labels,
        }
    )
    return Logged(rows, features)


def test_the_newest_rows_are_set_aside_at_the_start():
    frame = pl.DataFrame({"n": range(1_000)})
    training, holdout = newest_aside(frame, 5_000)
    assert holdout["n"].to_list() == list(range(850, 1_000))
    assert training.height == 850


def test_later_every_third_block_of_the_recent_rows_is_set_aside():
    frame = pl.DataFrame({"n": range(1_000)})
    training, holdout = blocks_aside(frame, 400, recent=180, most_recent=360, block=30)
    assert holdout["n"].to_list() == [*range(820, 850), *range(910, 940)]
    assert training.height == 1_000 - 120
    assert set(range(640)) < set(training["n"])


def test_no_model_is_judged_on_what_it_or_the_champion_learned():
    for recent in (60, 200, 360):
        learned: set[int] = set()
        for rows in range(500, 1_500, 70):
            training, holdout = blocks_aside(
                pl.DataFrame({"n": range(rows)}), 400, recent=recent, most_recent=360, block=30
            )
            assert not set(holdout["n"]) & set(training["n"])
            assert not set(holdout["n"]) & learned
            learned = set(training["n"])


def test_live_traffic_comes_back_in_the_columns_types_and_order_of_what_was_known():
    known = pl.DataFrame(
        {"at": [datetime(2024, 1, 1)], "whole": [1], "name": ["a"], "unused": [0.0], "y": [True]},
        schema_overrides={"whole": pl.Int32},
    )
    features = pl.DataFrame({"whole": [3.0, 2.0, 1.0], "name": ["c", "b", "a"]})
    made = logged_rows(logged(features, ["true", "false", "null"]), known, target="y", time="at")
    assert made is not None
    assert made.columns == ["at", "whole", "name", "y"]
    assert made["whole"].dtype == pl.Int32
    assert made["y"].to_list() == [False, True]
    assert made["whole"].to_list() == [2, 3]
    assert made["at"].is_sorted()


def test_no_traffic_gives_no_rows():
    known = pl.DataFrame({"a": [1.0], "y": [1]})
    assert logged_rows(Logged(pl.DataFrame(), pl.DataFrame()), known, target="y", time=None) is None


def test_columns_are_arrays_and_texts_are_lists():
    frame = pl.DataFrame({"n": [1, 2], "t": ["a", None], "d": [datetime(2024, 1, 1), None], "b": [True, None]})
    made = arrays_of(frame, ["n", "t", "d", "b"])
    assert isinstance(made["n"], np.ndarray)
    assert made["t"] == ["a", None]
    assert made["d"].dtype.kind == "M"
    assert made["b"] == [True, None]


def test_a_hundred_rows_leave_enough_to_learn_from():
    known = split(pl.DataFrame({"a": range(100), "y": [0, 1] * 50}), "y", time=None).earlier
    training, holdout = newest_aside(known, 150)
    assert training.height >= 40
    assert holdout.height >= 15
