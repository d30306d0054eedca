from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from mainspring.training.columns import Column
from mainspring.training.preparation import features, prepare


def prepared(values, kind, style="trees", truth=None, classes=2, **options):
    frame = pl.DataFrame({"x": values})
    truth = np.arange(len(frame)) % 2 if truth is None else np.asarray(truth)
    ready = prepare(frame, [Column("x", kind)], truth, classes, style, **options)
    return ready, features(frame, ready)


def test_dates_are_taken_apart_as_the_calendar_does():
    rng = np.random.default_rng(0)
    moments = [datetime(1700, 1, 1, tzinfo=UTC) + timedelta(minutes=int(m)) for m in rng.integers(0, 3 * 10**8, 3000)]
    _, found = prepared(pl.Series(moments), "datetime")
    days = [(moment - datetime(1970, 1, 1, tzinfo=UTC)).days for moment in moments]
    np.testing.assert_array_equal(found[:, 0], days)
    np.testing.assert_allclose(found[:, 1], [m.hour + m.minute / 60 for m in moments], atol=1e-5)
    np.testing.assert_array_equal(found[:, 2], [m.month for m in moments])
    np.testing.assert_array_equal(found[:, 3], [(m.weekday() - 3) % 7 for m in moments])
    np.testing.assert_array_equal(found[:, 4], [m.day for m in moments])


def test_only_parts_of_dates_that_come_again_are_used():
    hours = pl.Series([datetime(2025, 1, 1) + timedelta(hours=n) for n in range(100)])
    assert prepared(hours, "datetime")[1].shape == (100, 2)
    assert prepared(hours, "datetime", time="x")[1].shape == (100, 1)


def test_a_missing_date_is_missing_in_every_part():
    moments = pl.Series([datetime(2020, 1, 1) + timedelta(days=40 * n, hours=n) for n in range(50)] + [None])
    _, found = prepared(moments, "datetime")
    assert np.isnan(found[-1]).all()
    assert np.isfinite(found[:-1]).all()


def test_levels_are_ranked_by_the_target():
    levels = ["low"] * 100 + ["high"] * 100 + ["middle"] * 100
    truth = [0] * 90 + [1] * 10 + [1] * 90 + [0] * 10 + [0, 1] * 50
    _, found = prepared(levels, "categorical", truth=truth)
    assert [found[0, 0], found[200, 0], found[100, 0]] == [0, 1, 2]


def test_levels_of_several_classes_are_ordered_so_that_alike_ones_are_neighbours():
    levels = ["a", "b", "c", "d"] * 100
    truth = [{"a": 0, "b": 2, "c": 0, "d": 2}[level] for level in levels]
    ready, _ = prepared(levels, "categorical", truth=truth, classes=3)
    rank = dict(zip(ready.levels[0].values, ready.levels[0].codes, strict=True))
    assert abs(rank["a"] - rank["c"]) == abs(rank["b"] - rank["d"]) == 1


def test_rare_levels_share_a_code_with_those_never_seen():
    ready, _ = prepared(["a"] * 50 + ["b"] * 50 + ["rare", "rarer"], "categorical")
    assert set(ready.levels[0].values) == {"a", "b"}
    found = features(pl.DataFrame({"x": ["rare", "new", "a"]}), ready)
    assert found[0] == found[1] != found[2]
    assert ready.known_levels["x"][:2] == ["a", "b"]


def test_a_level_never_seen_is_missing_when_none_was_rare():
    ready, _ = prepared(["a", "b"] * 50, "categorical")
    assert np.isnan(features(pl.DataFrame({"x": ["new", None]}), ready)).all()


def test_linear_numbers_are_centred_scaled_bounded_and_flagged():
    values = [1.0, 2.0, 3.0, 4.0, None] * 20
    ready, found = prepared(values, "numeric", "linear")
    assert found.shape == (100, 2)
    np.testing.assert_allclose([found[:, 0].mean(), found[:, 0].std()], [0, 1], atol=1e-6)
    assert list(found[:5, 1]) == [0, 0, 0, 0, 1]
    far = features(pl.DataFrame({"x": [1e20, 7.0]}), ready)
    assert far[0, 0] == far[1, 0]


def test_linear_levels_become_one_column_each():
    ready, found = prepared(["a", "a", "b"] * 20, "categorical", "linear")
    assert [list(row) for row in found[:3]] == [[1, 0], [1, 0], [0, 1]]
    assert list(features(pl.DataFrame({"x": ["new"]}), ready)[0]) == [0, 0]


@pytest.mark.parametrize("style", ["trees", "linear"])
def test_a_constant_or_empty_column_does_no_harm(style):
    for values in ([5.0] * 50, pl.Series([None] * 50, dtype=pl.Float64)):
        _, found = prepared(values, "numeric", style)
        assert found.shape[0] == 50
        assert style == "trees" or np.isfinite(found).all()
