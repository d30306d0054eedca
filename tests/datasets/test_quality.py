"""Expectations: what breaks each, and the rows that do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import polars as pl
import pytest

from mainspring.datasets.expectations import (
    Between,
    ColumnType,
    Expectation,
    Fresh,
    NotNull,
    OneOf,
    RowCount,
    SameDistribution,
    UniqueKey,
)
from mainspring.datasets.profile import profile
from mainspring.datasets.quality import CheckResult, evaluate
from mainspring.datasets.suggestions import suggest

NOW = datetime(2026, 1, 10, tzinfo=UTC)
FRAME = pl.DataFrame(
    {
        "id": [1, 2, 2, None],
        "x": [0.5, 99.0, None, float("inf")],
        "s": ["a", "b", None, "z"],
        "b": [True, False, None, True],
        "t": [NOW - timedelta(hours=hours) for hours in (30, 20, 10, 40)],
    }
)


def check(expectation: Expectation, frame: pl.DataFrame = FRAME, reference: pl.Series | None = None) -> CheckResult:
    (result,) = evaluate(frame, [expectation], key=["id"], now=NOW, reference=lambda e: reference)
    return result


@pytest.mark.parametrize(
    ("expectation", "rows"),
    [
        (NotNull(column="x"), [3]),
        (NotNull(column="x", max_share=0.25), []),
        (Between(column="x", low=0, high=10), [2, 4]),
        (Between(column="x", low=0, high=10, max_share=0.7), []),
        (Between(column="x", low=0), [4]),
        (OneOf(column="s", levels=["a", "b"]), [4]),
        (OneOf(column="b", levels=[True]), [2]),
        (OneOf(column="id", levels=[1, 2]), []),
        (OneOf(column="id", levels=[1]), [2, 3]),
        (UniqueKey(columns=["id"]), [2, 3, 4]),
        (UniqueKey(columns=["id", "x"]), [3, 4]),
        (UniqueKey(columns=["t"]), []),
    ],
)
def test_the_rows_that_break_an_expectation_are_named(expectation: Expectation, rows: list[int]) -> None:
    result = check(expectation)
    assert [offender.row for offender in result.rows] == rows
    assert result.passed == (not rows)
    assert all(offender.key == [FRAME["id"][offender.row - 1]] for offender in result.rows)


@pytest.mark.parametrize(
    ("expectation", "passed", "observed"),
    [
        (ColumnType(column="x", type="float64"), True, "float64"),
        (ColumnType(column="x", type="int64"), False, "float64"),
        (ColumnType(column="nobody", type="int64"), False, "no column nobody"),
        (Between(column="nobody", low=1), False, "no column nobody"),
        (Between(column="s", low=1), False, "string values"),
        (RowCount(low=4, high=4), True, "4 rows"),
        (RowCount(low=5), False, "4 rows"),
        (Fresh(column="t", max_age_s=36_000), True, "latest is 36000 s old"),
        (Fresh(column="t", max_age_s=35_999), False, "latest is 36000 s old"),
        (Fresh(column="s", max_age_s=1), False, "no instant"),
        (SameDistribution(column="x"), True, "no reference of this type to compare with"),
    ],
)
def test_a_table_is_held_against_an_expectation(expectation: Expectation, passed: bool, observed: str) -> None:
    result = check(expectation)
    assert (result.passed, result.observed) == (passed, observed)


def test_a_distribution_breaks_only_when_it_is_both_far_and_not_by_chance() -> None:
    reference = pl.Series("x", [float(i) for i in range(1000)])
    far, near, few = reference + 500, reference + 20, (reference + 500).head(3)
    results = [
        check(SameDistribution(column="x"), s.to_frame().with_columns(id=1), reference) for s in (far, near, few)
    ]
    assert [result.passed for result in results] == [False, True, True]
    assert results[0].observed.startswith("ks 0.5")


def test_only_the_first_ten_rows_are_shown() -> None:
    frame = pl.DataFrame({"id": range(100), "x": [None] * 100}, schema={"id": pl.Int64, "x": pl.Int64})
    result = check(NotNull(column="x"), frame)
    assert (result.count, [offender.row for offender in result.rows]) == (100, list(range(1, 11)))


def test_expectations_survive_json() -> None:
    wanted = [*suggest(profile(FRAME, ["id"])), Fresh(column="t", max_age_s=1), UniqueKey(columns=["id"])]
    assert msgspec.json.decode(msgspec.json.encode(wanted), type=list[Expectation]) == wanted


def table(rows: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "id": np.arange(rows) + seed * rows,
            "amount": rng.exponential(20.0, rows),
            "z": rng.normal(size=rows),
            "level": rng.choice(["a", "b", "c"], rows, p=[0.9, 0.08, 0.02]),
            "flag": rng.random(rows) < 0.1,
            "maybe": pl.Series([None if r < 0.1 else r for r in rng.random(rows)], dtype=pl.Float64),
        }
    )


def refused(frame: pl.DataFrame, wanted: list[Expectation]) -> list[str]:
    results = evaluate(frame, wanted, key=["id"], now=NOW, reference=lambda e: None)
    return [str(result) for result in results if result.refuses]


def test_suggestions_let_pass_what_comes_from_the_same_source() -> None:
    wanted = suggest(profile(table(1000, 0), ["id"]))
    assert [refused(table(1000, seed), wanted) for seed in range(1, 40)] == [[]] * 39


@pytest.mark.parametrize(
    ("column", "spoilt"),
    [
        ("amount", pl.when(pl.col("id") % 500 == 7).then(-999.0).otherwise("amount")),
        ("z", pl.col("z") * 1000),
        ("level", pl.lit("unseen")),
        ("maybe", pl.lit(None, pl.Float64)),
        ("id", pl.lit(7, pl.Int64)),
        ("flag", pl.col("flag").cast(pl.String)),
    ],
)
def test_suggestions_stop_what_is_broken(column: str, spoilt: pl.Expr) -> None:
    wanted = suggest(profile(table(1000, 0), ["id"]))
    bad = table(1000, 1).with_columns(spoilt.alias(column))
    failed = refused(bad, wanted)
    assert failed and all(column in said for said in failed)


def test_suggestions_hold_for_the_data_that_they_come_from() -> None:
    for frame, key in ((FRAME, ["id"]), (FRAME, ["id", "x"]), (FRAME.unique("id"), ["id"]), (table(500, 2), ["id"])):
        wanted = suggest(profile(frame, key, "t" if "t" in frame.columns else None))
        assert refused(frame, wanted) == []
