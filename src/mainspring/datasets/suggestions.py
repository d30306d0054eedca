"""Expectations that a profile suggests, with slack: what comes next may differ, but not in kind."""

from __future__ import annotations

import math
from collections.abc import Iterator

from mainspring.datasets.columns import INTEGERS, NUMBERS
from mainspring.datasets.expectations import (
    Between,
    ColumnType,
    Expectation,
    NotNull,
    OneOf,
    RowCount,
    UniqueKey,
)
from mainspring.datasets.profile import ColumnProfile, Profile

_MAX_LEVELS = 20
_ROWS_PER_LEVEL = 20
_NEW_LEVELS_SHARE = 0.02
_NULL_SLACK = 0.05
_FEW_ROWS = 30


def suggest(profile: Profile) -> list[Expectation]:
    """Suggest expectations for the versions after the one with this profile.

    Every column keeps its type. A share of missing values may grow by half and by 5 points (one of a key or time column
    not at all). Numbers stay within twice the span that was seen on either side, and do not fall below zero where
    integers never did or zero was the minimum; identifiers, constants and columns in ascending order get no range. A
    few levels stay the only ones but for 2 % of the rows. A key that was unique stays so, and there are at least a
    tenth as many rows.
    """
    found: list[Expectation] = [RowCount(low=max(1, profile.rows // 10))] if profile.rows else []
    whole = not any(column.nulls for column in profile.columns if column.name in profile.key)
    if profile.key and whole and profile.key_distinct == profile.rows:
        found.append(UniqueKey(columns=profile.key))
    for column in profile.columns:
        found += _of_column(column, profile)
    return found


def _of_column(column: ColumnProfile, profile: Profile) -> Iterator[Expectation]:
    yield ColumnType(column=column.name, type=column.type)
    if profile.rows < _FEW_ROWS:
        return
    if column.name in profile.key or column.name == profile.time_column:
        yield NotNull(column=column.name, max_share=column.nulls / profile.rows)
        return
    share = column.nulls / profile.rows
    if share < 0.9:
        yield NotNull(column=column.name, max_share=round(min(0.99, share * 1.5 + _NULL_SLACK), 4))
    if column.type in NUMBERS:
        yield from _range(column, profile)
    elif column.type == "string" and 0 < column.distinct <= min(_MAX_LEVELS, profile.rows // _ROWS_PER_LEVEL):
        levels = sorted(str(entry.level) for entry in column.top)
        yield OneOf(column=column.name, levels=list(levels), max_share=_NEW_LEVELS_SHARE)


def _range(column: ColumnProfile, profile: Profile) -> Iterator[Expectation]:
    low, high = column.minimum, column.maximum
    if low is None or high is None or low == high or column.sorted:
        return
    if column.type in INTEGERS and column.distinct >= 0.9 * (profile.rows - column.nulls):
        return
    span = high - low
    if not math.isfinite(span):
        return
    counts = column.type in INTEGERS and low >= 0
    floor = 0.0 if low == 0 or counts else low - 2 * span
    yield Between(column=column.name, low=floor, high=high + 2 * span)
