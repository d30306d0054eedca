"""Features as of an instant: nothing of the future, whatever the history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.core.errors import InvalidData
from mainspring.features.asof import compute
from mainspring.features.model import Feature, FeatureView

START = datetime(2026, 1, 1, tzinfo=UTC)
INSTANT = pl.Datetime("us", "UTC")
VIEW = FeatureView(
    name="user",
    version=1,
    dataset="dataset:events",
    keys=["user", "shop"],
    time_column="at",
    features=[
        Feature("last", "amount"),
        Feature("recent", "amount", "last", "3h"),
        Feature("count", "amount", "count", "5h"),
        Feature("sum", "amount", "sum", "5h"),
        Feature("mean", "amount", "mean"),
        Feature("low", "amount", "min", "2h"),
        Feature("high", "amount", "max", "9h"),
        Feature("city", "city"),
    ],
    max_age=None,
    created=START,
)

hours = st.integers(0, 24).map(lambda hour: START + timedelta(hours=hour))
events = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob", None]),
        st.integers(1, 2),
        st.one_of(hours, hours, hours, st.none()),
        st.one_of(st.none(), st.integers(-50, 50)),
        st.sampled_from(["Rome", "Oslo", None]),
    ),
    max_size=40,
)
questions = st.lists(
    st.tuples(st.sampled_from(["ann", "bob", "eve", None]), st.integers(1, 3), st.one_of(hours, hours, st.none())),
    max_size=15,
)


def history_of(rows: list[tuple]) -> pl.DataFrame:
    schema = {"user": pl.String, "shop": pl.Int64, "at": INSTANT, "amount": pl.Int64, "city": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def questions_of(rows: list[tuple]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"user": pl.String, "shop": pl.Int64, "when": INSTANT}, orient="row")


def by_hand(rows: list[tuple], feature: Feature, user: str | None, shop: int, when: datetime | None) -> object:
    """The definition, written as a loop."""
    hours_back = float(feature.window[:-1]) if feature.window else 1e6
    column = 3 if feature.column == "amount" else 4
    seen = [
        (row[2], place, row[column])
        for place, row in enumerate(rows)
        if None not in (user, when, row[0], row[2])
        and (row[0], row[1]) == (user, shop)
        and when - timedelta(hours=hours_back) < row[2] <= when
    ]
    seen.sort(key=lambda event: event[:2])
    if feature.aggregate == "last":
        return seen[-1][2] if seen else None
    values = [value for _, _, value in seen if value is not None]
    if feature.aggregate == "count":
        return len(values)
    if not values:
        return None
    return {"sum": sum(values), "mean": sum(values) / len(values), "min": min(values), "max": max(values)}[
        feature.aggregate
    ]


@settings(max_examples=300, deadline=None)
@given(events, questions)
def test_features_are_what_their_definition_says_for_any_history(rows: list[tuple], asked: list[tuple]) -> None:
    found = compute(VIEW, history_of(rows), questions_of(asked), "when")
    for column, feature in zip(found.columns, VIEW.features, strict=True):
        assert column.name == feature.name
        assert column.to_list() == [by_hand(rows, feature, *question) for question in asked]


@settings(max_examples=100, deadline=None)
@given(events, questions)
def test_events_after_the_instant_change_nothing(rows: list[tuple], asked: list[tuple]) -> None:
    asked = [(user, shop, when) for user, shop, when in asked if when is not None]
    future = max((when for _, _, when in asked), default=START)
    later = [("ann", 1, future + timedelta(microseconds=1), 1000, "Future")]
    with_future = compute(VIEW, history_of([*later, *rows]), questions_of(asked), "when")
    without = compute(VIEW, history_of(rows), questions_of(asked), "when")
    assert [c.to_list() for c in with_future.columns] == [c.to_list() for c in without.columns]


def test_an_event_at_exactly_the_instant_is_known_and_the_later_row_wins_a_tie() -> None:
    history = history_of([("ann", 1, START, 1, None), ("ann", 1, START, 2, None)])
    found = compute(VIEW, history, questions_of([("ann", 1, START)]), "when")
    assert found.columns[0].to_list() == [2]


def test_a_key_of_another_type_is_compared_by_value() -> None:
    history = history_of([("ann", 1, START, 1, None)])
    asked = questions_of([("ann", 1, START)]).with_columns(pl.col("shop").cast(pl.Int16))
    assert compute(VIEW, history, asked, "when").columns[0].to_list() == [1]
    text = asked.with_columns(pl.lit("one").alias("shop"))
    with pytest.raises(InvalidData, match="shop"):
        compute(VIEW, history, text, "when")


def test_labels_without_a_key_column_are_refused_by_name() -> None:
    with pytest.raises(InvalidData, match="shop"):
        compute(VIEW, history_of([]), questions_of([]).drop("shop"), "when")
