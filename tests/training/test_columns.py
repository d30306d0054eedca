from datetime import date, datetime

import numpy as np
import polars as pl
import pytest

from mainspring.registry.signature import NULL_LONG
from mainspring.training.columns import Column, arrays, fields, inspect, strict_fields

Y = pl.Series("y", ["n", "p"] * 50)


def dropped(series, **options):
    return inspect(pl.DataFrame([series.alias("x"), Y]), "y", **options).dropped.get("x")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([None] * 100, "no row has a value"),
        ([7] * 100, "the same value in every row"),
        (list(range(1000, 1100)), "an id"),
        ([f"comment number {n}" for n in range(100)], "an id or free text"),
        ([[1, 2]] * 100, "cannot be learned from"),
    ],
)
def test_a_useless_column_is_left_out_with_its_reason(values, reason):
    assert reason in dropped(pl.Series("x", values))


@pytest.mark.parametrize(
    "values",
    [
        [7] * 99 + [None],
        [float(n) for n in range(100)],
        list(np.random.default_rng(0).permutation(100)),
        ["a", "b", "c", "d"] * 25,
        [date(2025, 1, 1 + n % 28) for n in range(100)],
    ],
)
def test_a_column_that_may_tell_something_is_kept(values):
    assert dropped(pl.Series("x", values)) is None


def test_numbers_called_an_id_are_left_out():
    shuffled = pl.Series(np.random.default_rng(0).permutation(100))
    frame = pl.DataFrame([shuffled.alias("customer_id"), shuffled.alias("userId"), shuffled.alias("paid"), Y])
    assert set(inspect(frame, "y").dropped) == {"customer_id", "userId"}


def test_a_key_is_left_out():
    assert dropped(pl.Series(np.random.default_rng(0).normal(size=100)), key=["x"]) == "a key of the rows"


def test_a_copy_of_the_target_is_left_out_and_said():
    found = inspect(pl.DataFrame([Y.alias("copy"), Y, pl.Series("x", range(100)) * 2]), "y")
    assert found.dropped["copy"] == "it equals the target"
    assert "'copy' equals the target" in found.warnings[0]


def test_the_target_in_other_words_is_pointed_out():
    frame = pl.DataFrame([Y, Y.replace({"n": "refused", "p": "granted"}).alias("decision")])
    assert "'decision' tells the target exactly" in inspect(frame, "y").warnings[0]
    money = pl.DataFrame({"y": np.random.default_rng(0).normal(size=100)}).with_columns(cents=pl.col("y") * 100)
    assert "almost exactly a line" in inspect(money, "y").warnings[0]


def test_missing_values_have_one_form_per_kind():
    frame = pl.DataFrame(
        {
            "n": [1, None],
            "c": ["a", None],
            "d": [datetime(1970, 1, 2), None],
            "b": [True, None],
            "huge": [float("inf"), 1e300],
        }
    )
    kinds = {"n": "numeric", "c": "categorical", "d": "datetime", "b": "boolean", "huge": "numeric"}
    found = arrays(frame, [Column(name, kind) for name, kind in kinds.items()])
    assert found["n"].dtype == found["b"].dtype == np.float32
    np.testing.assert_array_equal(found["n"], [1, np.nan])
    np.testing.assert_array_equal(found["b"], [1, np.nan])
    assert list(found["c"]) == ["a", ""]
    assert list(found["d"]) == [86_400_000, NULL_LONG]
    assert np.isnan(found["huge"]).all()


def test_mlflow_is_told_integers_from_numbers_and_we_serve_them_alike():
    columns = [
        Column("n", "numeric", True),
        Column("x", "numeric"),
        Column("d", "datetime"),
        Column("c", "categorical"),
    ]
    served = fields(columns, {"c": ["a"]})
    assert [field.type for field in served] == ["double", "double", "long", "string"]
    assert served[3].levels == ["a"]
    assert [field.type for field in strict_fields(columns, served)] == ["long", "double", "datetime", "string"]


def test_a_column_that_stands_still_is_kept_where_it_may_move_later():
    frame = pl.DataFrame({"moves": range(0, 200, 2), "still": [7.0] * 100, "empty": [None] * 100, "y": [0, 1] * 50})
    kept = inspect(frame, "y", constants=True)
    assert [column.name for column in kept.columns] == ["moves", "still"]
    assert list(kept.dropped) == ["empty"]
    assert "still" in inspect(frame, "y").dropped
    alone = inspect(frame.select("still", "y"), "y", constants=True)
    assert alone.columns == []
    assert alone.dropped == {"still": "the same value in every row"}
