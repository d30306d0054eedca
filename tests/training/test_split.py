from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from mainspring.core.errors import InvalidData
from mainspring.training.split import RowRange, instants, select_rows, split_at_random, split_by_time, split_recent
from tests.training.conftest import START


def test_no_row_that_is_learned_from_is_as_late_as_one_that_is_judged():
    rng = np.random.default_rng(0)
    moments = pl.Series(rng.integers(0, 30, 1000))
    split = split_by_time(moments)
    at = moments.to_numpy()
    assert at[split.learn].max() < at[split.judge].min()
    assert len(split.learn) + len(split.judge) == 1000
    assert 0.15 < len(split.judge) / 1000 < 0.25
    assert (split.age.min(), split.age.max()) == (0, 1)


def test_times_that_leave_nothing_to_judge_are_no_split():
    assert split_by_time(pl.Series([5] * 100)) is None
    assert split_by_time(pl.Series([5] * 95 + [4] * 5)) is None


def test_each_class_is_judged_on_the_same_share():
    truth = np.array([0] * 900 + [1] * 95 + [2] * 5)
    (split,) = split_at_random(truth, 3, seed=4)
    assert list(np.bincount(truth[split.judge])) == [180, 19, 1]
    assert not set(split.learn) & set(split.judge)


def test_by_turns_every_row_is_judged_once():
    folds = split_at_random(np.arange(103) % 2, 2, seed=0, folds=4)
    assert sorted(np.concatenate([fold.judge for fold in folds])) == list(range(103))
    assert all(not set(fold.learn) & set(fold.judge) for fold in folds)


def test_the_seed_decides_the_split():
    first, again, other = (split_at_random(np.zeros(50, int), 1, seed=seed)[0].judge for seed in (1, 1, 2))
    assert list(first) == list(again) != list(other)


def test_rows_are_chosen_by_number_and_by_time():
    frame = pl.DataFrame({"n": range(10), "at": [START + timedelta(hours=n) for n in range(10)]})
    assert select_rows(frame, RowRange(first=2, end=5), None)["n"].to_list() == [2, 3, 4]
    since, until = START + timedelta(hours=3), START + timedelta(hours=6)
    assert select_rows(frame, RowRange(since=since, until=until), "at")["n"].to_list() == [3, 4, 5]
    both = RowRange(first=4, since=since.replace(tzinfo=None))
    assert select_rows(frame, both, "at")["n"].to_list() == [4, 5, 6, 7, 8, 9]


def test_dates_are_midnights_in_utc():
    assert instants(pl.Series([date(2025, 1, 2)])).to_list() == [datetime(2025, 1, 2, tzinfo=UTC)]


def test_a_time_column_of_numbers_is_refused():
    with pytest.raises(InvalidData, match="dates or datetimes"):
        instants(pl.Series("at", [1, 2]))


def test_after_a_change_blocks_of_the_recent_rows_are_judged_and_the_rest_is_learned():
    at = np.random.default_rng(0).permutation(5_000)
    (split,) = split_recent(at, since=2_000)
    assert at[split.judge].min() >= 2_000
    assert 0.3 < len(split.judge) / 3_000 < 0.37
    assert sorted([*split.learn, *split.judge]) == list(range(5_000))
    assert (at[split.learn] >= 2_000).sum() + len(split.judge) == 3_000


def test_few_recent_rows_are_all_judged_by_turns():
    splits = split_recent(np.arange(1_000), since=900)
    assert sorted(np.concatenate([split.judge for split in splits])) == list(range(900, 1_000))
    assert all(not set(split.learn) & set(split.judge) for split in splits)


def test_too_few_recent_rows_or_nothing_older_give_no_such_split():
    assert split_recent(np.arange(1_000), since=980) == []
    assert split_recent(np.arange(1_000), since=0) == []
