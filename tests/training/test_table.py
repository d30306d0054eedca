import numpy as np
import polars as pl
import pytest

from mainspring.core.errors import InvalidData
from mainspring.training.split import RowRange
from mainspring.training.table import for_fit, for_search, read_table, splits_of
from tests.training.conftest import START, table


def read(frame, target="y", **options):
    given = {"time": None, "key": (), "metric": None, "task": None, "rows": RowRange()}
    return read_table(frame, target, **{**given, **options})


def test_thousands_of_columns_are_cut_to_those_that_tell_most():
    rng = np.random.default_rng(0)
    noise = {f"n{place}": rng.normal(size=300) for place in range(2000)}
    y = rng.random(300) > 0.5
    words = rng.choice(["a", "b"], 300)
    found = read(
        pl.DataFrame({**noise, "signal": y + rng.normal(0, 0.3, 300), "word": np.where(y, "a", words), "y": y})
    )
    names = [column.name for column in found.columns]
    assert {"signal", "word"} <= set(names)
    assert len(names) == 500
    assert len(found.dropped) == 1502
    assert "tell more about the target" in next(iter(found.dropped.values()))


def test_rows_without_a_target_are_left_out_and_said():
    frame = table(rows=200).with_columns(y=pl.when(pl.int_range(200) < 30).then(None).otherwise("y"))
    found = read(frame)
    assert len(found.truth) == 170
    assert "30 rows without a target" in found.warnings[0]


def test_rows_without_a_time_are_left_out_and_said():
    frame = table(rows=200).with_columns(at=pl.when(pl.int_range(200) < 7).then(None).otherwise("at"))
    found = read(frame, time="at")
    assert len(found.truth) == 193
    assert "7 rows without a time" in found.warnings[0]


def test_a_rare_class_changes_the_metric():
    frame = table(rows=400).with_columns(y=pl.int_range(400) % 10 == 0)
    assert read(frame).metric == "roc_auc"
    assert read(frame, metric="f1").metric == "f1"


def test_a_column_named_like_an_answer_is_left_out():
    found = read(table(rows=100).with_columns(label=pl.int_range(100) % 7))
    assert "rename" in found.dropped["label"]


def test_a_target_may_be_called_label():
    assert read(table(rows=100).rename({"y": "label"}), "label").target.task == "binary"


def test_nothing_to_learn_from_is_refused_with_the_reasons():
    with pytest.raises(InvalidData, match="the same value in every row"):
        read(pl.DataFrame({"a": [1] * 100, "y": ["n", "p"] * 50}))


def test_an_unknown_column_is_named():
    with pytest.raises(InvalidData, match="'when'"):
        read(table(rows=100), time="when")
    with pytest.raises(InvalidData, match="'target'"):
        read(table(rows=100), "target")


def test_times_that_are_all_alike_fall_back_to_random_rows():
    found = read(table(rows=2500).with_columns(at=pl.lit(START)), time="at")
    how, splits = splits_of(found, 0)
    assert (how, splits[0].age) == ("random", None)
    assert "could not be split by time" in found.warnings[-1]


def test_a_large_table_is_searched_on_a_part_and_fitted_on_the_latest_rows():
    rows = 40_000
    frame = pl.DataFrame({"x": np.arange(rows) % 997, "y": np.arange(rows) % 2}).with_columns(
        at=pl.Series(range(rows)).cast(pl.Datetime("us")).shuffle(seed=1)
    )
    found = read(frame, time="at")
    small = for_search(found, 0)
    assert len(small.truth) == len(small.frame) == len(small.moments) == 30_000
    latest = for_fit(found, 1000, 0)
    assert latest.moments.min() == rows - 1000
    assert for_fit(found, 50_000, 0) is found


def test_rows_in_order_are_split_by_their_place():
    how, splits = splits_of(read(table(rows=300), ordered=True), 0)
    assert how == "time"
    assert splits[0].learn.max() < splits[0].judge.min()
    assert splits[0].age is not None


def test_a_time_without_any_value_is_refused_as_that():
    frame = table(rows=200).with_columns(at=pl.lit(None, pl.Datetime("us", "UTC")))
    with pytest.raises(InvalidData, match="time column 'at' has no value in any row"):
        read(frame, time="at")


@pytest.mark.parametrize("scale", [1, 0.001])
def test_a_time_in_plain_numbers_orders_the_rows_and_is_not_learned_from(scale):
    frame = table(rows=200).with_columns(at=pl.int_range(200) * scale).sample(fraction=1.0, shuffle=True, seed=1)
    found = read(frame, time="at")
    assert "at" in found.dropped and "at" not in found.frame.columns
    kind, (split,) = splits_of(found, 0)
    assert kind == "time"
    assert frame["at"].to_numpy()[split.learn].max() < frame["at"].to_numpy()[split.judge].min()
