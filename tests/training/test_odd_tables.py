"""Tables that are odd but can be learned from."""

from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

ROWS = 200
RNG = np.random.default_rng(0)
Y = pl.Series("y", RNG.choice(["a", "b"], ROWS))
X = pl.Series("x", RNG.normal(size=ROWS))
START = datetime(2020, 1, 1)


@pytest.mark.parametrize(
    "columns",
    [
        {"c": RNG.choice(list("abc"), ROWS)},
        {"c": [f"l{n}" for n in RNG.integers(0, 90, ROWS)]},
        {"d": [date(2020, 1, 1) + timedelta(days=int(n)) for n in RNG.integers(0, 900, ROWS)]},
        {"d": [date(2020, 1, 1) + timedelta(days=n // 50) for n in range(ROWS)]},
        {"b": RNG.random(ROWS) > 0.5},
        {"x": X, "nearly empty": [1.0] + [None] * (ROWS - 1)},
        {"x": X, "infinite": [float("inf"), 1.0] * (ROWS // 2)},
        {"x": X * 3e38, "y2": X * 1e300},
        {'odd/name "x" ü 😀': X},
    ],
    ids=lambda columns: ", ".join(columns),
)
def test_odd_columns_make_a_model_that_is_proved(platform, columns):
    result = platform.train(pl.DataFrame({**columns, "y": Y}), trials=4)
    assert result.proof.proved, result.proof.reason
    assert [trial.failure for trial in result.trials] == [None] * 4


def test_a_time_that_is_the_only_column_makes_a_model(platform):
    frame = pl.DataFrame({"t": [START + timedelta(days=n) for n in range(ROWS)], "y": Y})
    assert platform.train(frame, time="t").proof.proved


def test_a_class_that_comes_only_later_can_be_learned(platform):
    frame = pl.DataFrame(
        {"x": X, "t": [START + timedelta(hours=n) for n in range(ROWS)], "y": ["a"] * 170 + ["b"] * 30}
    )
    result = platform.train(frame, time="t")
    assert result.classes == ["a", "b"]
    assert "could not be split by time" in result.warnings[-1]


def test_many_classes_can_be_told_apart(platform):
    frame = pl.DataFrame({"x": np.arange(600) % 60, "y": [f"class {n % 60}" for n in range(600)]})
    result = platform.train(frame, trials=2)
    assert len(result.classes) == 60
    assert result.proof.proved


def test_no_name_of_a_column_or_of_the_target_gets_in_the_way(platform):
    names = ["features", "numbers", "level", "rows", "t0", "a", "b", "x", "age", "//Concat/1x"]
    columns = {name: RNG.normal(size=ROWS) for name in names}
    texts = {f"{name}?": RNG.choice(list("abc"), ROWS) for name in names}
    frame = pl.DataFrame({**columns, **texts, "count": RNG.choice(["u", "v"], ROWS), "class": Y})
    result = platform.train(frame, "class", trials=3)
    assert result.proof.proved, result.proof.reason
    assert [trial.failure for trial in result.trials] == [None] * 3
