"""Profiles: one pass, right numbers."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from mainspring.datasets.profile import QUANTILES, profile

RNG = np.random.default_rng(3)


def test_numbers_are_those_that_numpy_gives() -> None:
    values = RNG.normal(size=1001)
    frame = pl.DataFrame({"x": values}).with_columns(pl.when(pl.int_range(pl.len()) % 10 > 0).then("x").alias("x"))
    present = frame["x"].drop_nulls().to_numpy()
    found = profile(frame).columns[0]
    assert (found.nulls, found.distinct, found.type) == (101, 900, "float64")
    assert found.quantiles == np.quantile(present, QUANTILES, method="nearest").tolist()
    assert (found.minimum, found.maximum) == (present.min(), present.max())
    assert found.mean == pytest.approx(present.mean()) and found.std == pytest.approx(present.std(ddof=1))


def test_levels_are_counted_most_frequent_first() -> None:
    found = profile(pl.DataFrame({"s": ["b"] * 3 + ["a"] * 5 + [None] * 9})).columns[0]
    assert [(level.level, level.count) for level in found.top] == [("a", 5), ("b", 3)]
    assert (found.distinct, found.nulls, found.minimum, found.maximum) == (2, 9, 1, 1)


def test_infinite_values_are_counted_and_spoil_no_statistic() -> None:
    found = profile(pl.DataFrame({"x": [1.0, float("inf"), 3.0, float("-inf")]})).columns[0]
    assert (found.infinite, found.mean, found.minimum, found.maximum) == (2, 2.0, 1.0, 3.0)


def test_columns_without_values_and_tables_without_rows_are_profiled() -> None:
    empty = pl.DataFrame({"n": [None, None], "s": [None, None]}, schema={"n": pl.Float64, "s": pl.String})
    found = profile(empty)
    assert [(c.nulls, c.distinct, c.quantiles, c.top) for c in found.columns] == [(2, 0, [], []), (2, 0, [], [])]
    assert profile(empty.clear(), key=["s"]).rows == 0


def test_key_and_freshness_are_told() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    frame = pl.DataFrame({"a": [1, 1, 2], "b": ["x", "y", "x"], "t": [start, start + timedelta(days=1), None]})
    found = profile(frame, ["a", "b"], "t")
    assert (found.key_distinct, found.earliest, found.latest) == (3, start, start + timedelta(days=1))
    assert profile(frame, ["a"]).key_distinct == 2


def test_nested_and_binary_columns_are_counted() -> None:
    found = profile(pl.DataFrame({"l": [[1], None], "x": [b"a", b"b"]}))
    assert [column.nulls for column in found.columns] == [1, 0]


def test_many_columns_take_time_in_proportion() -> None:
    def seconds(width: int) -> float:
        frame = pl.DataFrame({f"c{i}": [1.0 * i, 2.0, None] for i in range(width)})
        start = time.perf_counter()
        assert len(profile(frame).columns) == width
        return time.perf_counter() - start

    seconds(10)
    assert seconds(1000) < 100 * (seconds(50) + 0.01)


@pytest.mark.parametrize("name", ["count", "rows", "level", "key", "ordered:x", "len", "literal", "nulls:x"])
@pytest.mark.parametrize(
    "values", [["a", "b", "b"], [True, False, False], [1.0, 2.0, 2.0]], ids=["text", "bool", "float"]
)
def test_no_name_of_a_column_gets_in_the_way(name: str, values: list) -> None:
    found = profile(pl.DataFrame({name: values, "x": [1, 2, 3]}), [name])
    assert found.key_distinct == 2
    assert (found.column(name).distinct, found.column("x").maximum) == (2, 3)


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])
def test_a_time_in_plain_numbers_tells_no_instant_whatever_it_counts(unit: int) -> None:
    found = profile(pl.DataFrame({"t": [1_700_000_000 * unit, 1_700_000_001 * unit]}), [], "t")
    assert (found.earliest, found.latest) == (None, None)
