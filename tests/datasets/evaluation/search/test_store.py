"""Evaluation datasets are found by name, maker, times, tags and experiments, in any of three orders."""

from __future__ import annotations

import pytest

from mainspring.core.clock import ManualClock
from mainspring.core.errors import InvalidRequest
from mainspring.datasets.evaluation.service import EvaluationDatasets


@pytest.fixture
def three(datasets: EvaluationDatasets, clock: ManualClock) -> list[str]:
    """Ids of the datasets qa_a, qz_B and other, made one second after the other."""
    made = [datasets.create("qa_a", ["1"], {"mlflow.user": "ann", "team": "ads"})]
    clock.advance(1)
    made.append(datasets.create("qz_B", ["1", "2"], {"mlflow.user": "bob", "team": "Ops"}))
    clock.advance(1)
    made.append(datasets.create("other", [], {}))
    return [one.id for one in made]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("", ["other", "qz_B", "qa_a"]),
        ("name = 'qa_a'", ["qa_a"]),
        ('name = "qa_a"', ["qa_a"]),
        ("name != 'qa_a'", ["other", "qz_B"]),
        ("name LIKE 'q%'", ["qz_B", "qa_a"]),
        ("name LIKE '%b'", []),
        ("name ILIKE '%b'", ["qz_B"]),
        ("name IN ('qa_a', 'other')", ["other", "qa_a"]),
        ("created_by = 'ann'", ["qa_a"]),
        ("last_updated_by != 'ann'", ["qz_B"]),
        ("created_by IS NULL", ["other"]),
        ("tags.team = 'ads'", ["qa_a"]),
        ("tags.team != 'ads'", ["qz_B"]),
        ("tags.team ILIKE 'o%'", ["qz_B"]),
        ("tags.`team` IS NULL", ["other"]),
        ("name LIKE 'q%' AND tags.team = 'ads'", ["qa_a"]),
        ("tags.team = 'ads' OR name = 'other'", ["other", "qa_a"]),
        ("NOT (tags.team = 'ads')", ["other", "qz_B"]),
    ],
)
def test_filters(datasets: EvaluationDatasets, three: list[str], where: str, found: list[str]) -> None:
    assert [one.name for one in datasets.search(where).datasets] == found


def test_times_are_whole_milliseconds(datasets: EvaluationDatasets, three: list[str]) -> None:
    at = round(datasets.get(three[1]).created.timestamp() * 1000)
    assert [one.name for one in datasets.search(f"created_time > {at}").datasets] == ["other"]
    assert [one.name for one in datasets.search(f"created_time = {at}").datasets] == ["qz_B"]
    assert [one.name for one in datasets.search(f"last_update_time <= {at}").datasets] == ["qz_B", "qa_a"]


def test_experiments(datasets: EvaluationDatasets, three: list[str]) -> None:
    for experiments, found in ((["1"], ["qz_B", "qa_a"]), (["2", "9"], ["qz_B"]), (["9", "\0"], [])):
        assert [one.name for one in datasets.search(experiments=experiments).datasets] == found


@pytest.mark.parametrize(
    ("order", "found"),
    [
        (["name"], ["other", "qa_a", "qz_B"]),
        (["name DESC"], ["qz_B", "qa_a", "other"]),
        (["created_time ASC"], ["qa_a", "qz_B", "other"]),
        (["last_update_time DESC", "name"], ["other", "qz_B", "qa_a"]),
    ],
)
def test_orders(datasets: EvaluationDatasets, three: list[str], order: list[str], found: list[str]) -> None:
    assert [one.name for one in datasets.search(order_by=order).datasets] == found


def test_pages_go_on_where_the_last_one_ended(datasets: EvaluationDatasets, three: list[str]) -> None:
    first = datasets.search(limit=2)
    second = datasets.search(limit=2, page=first.next_page)
    assert [one.name for one in [*first.datasets, *second.datasets]] == ["other", "qz_B", "qa_a"]
    assert second.next_page is None


@pytest.mark.parametrize(
    "where",
    [
        "size = 'x'",
        "name > 'a'",
        "name = 1",
        "created_time = '1'",
        "created_time > 1.5",
        "created_time LIKE '1'",
        "tags.a < 'x'",
    ],
)
def test_what_cannot_be_compared_is_refused(datasets: EvaluationDatasets, where: str) -> None:
    with pytest.raises(InvalidRequest, match=r"Invalid|expected"):
        datasets.search(where)


@pytest.mark.parametrize("order", ["digest", "tags.a", "name sideways", "name"])
def test_what_cannot_be_sorted_is_refused(datasets: EvaluationDatasets, order: str) -> None:
    with pytest.raises(InvalidRequest):
        datasets.search(order_by=[order, "name"])
