"""A search finds exactly the runs that its filter means, in the order asked for, page by page."""

from __future__ import annotations

import math

import pytest

from mainspring.core.clock import ManualClock
from mainspring.core.errors import InvalidRequest
from mainspring.tracking.model import Metric
from mainspring.tracking.service import Tracking


@pytest.fixture
def found(tracking: Tracking, clock: ManualClock) -> Tracking:
    """Runs a to f, one a second from 2026-01-01; e has nothing, f is in another experiment."""
    values = {"a": 0.5, "b": math.nan, "c": 0.9, "d": -math.inf}
    for name in "abcde":
        run = tracking.create_run("churn", name).id
        clock.advance(1)
        if name == "e":
            continue
        tracking.log_batch(run, [Metric("auc", 0.0, 0), Metric("auc", values[name], 1)])
        tracking.log_batch(run, params={"model": f"GB_{name}"}, tags={"team": "ads" if name in "ab" else "core"})
    tracking.finish_run(tracking.create_run("fraud", "f").id, "failed")
    return tracking


def names(tracking: Tracking, where: str = "", *order: str, experiments: tuple[str, ...] = ()) -> str:
    page = tracking.search_runs(list(experiments), where, list(order), include=[])
    return "".join(row.run.name for row in page.runs)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("", "fedcba"),
        ("metrics.auc > 0.4", "ca"),
        ("metrics.auc >= 0.5", "ca"),
        ("metrics.auc < 0.9", "da"),
        ("metrics.auc != 0.5", "dcb"),
        ("metrics.auc = 0", ""),
        ("metrics.auc is null", "fe"),
        ("metrics.auc in (0.5, 0.9)", "ca"),
        ("not metrics.auc > 0.4", "fedb"),
        ("params.model = 'GB_a'", "a"),
        ("params.model like 'gb%'", ""),
        ("params.model like 'GB%'", "dcba"),
        ("params.model like 'GB*'", ""),
        ("params.model ilike 'gb_a'", "a"),
        ("params.model not like '%a'", "dcb"),
        ("tags.team = 'ads' and metrics.auc > 0", "a"),
        ("tags.team = 'ads' or params.model = 'GB_d'", "dba"),
        ("tags.team != 'ads'", "dc"),
        ("status = 'failed'", "f"),
        ("ended is null", "edcba"),
        ("not ended > 0", "edcba"),
        ("started < '2026-01-01T00:00:02Z'", "ba"),
        ("started >= 1767225603000", "fed"),
        ("name in ('a', 'f')", "fa"),
        ("tags.team = 'x'' or 1=1 --'", ""),
    ],
)
def test_a_filter_finds(found: Tracking, where: str, expected: str) -> None:
    assert names(found, where) == expected


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (("metrics.auc",), "dacbfe"),
        (("metrics.auc desc",), "cadbfe"),
        (("tags.team", "metrics.auc desc"), "abcdfe"),
        (("params.model desc",), "dcbafe"),
        (("ended desc",), "fedcba"),
        (("name",), "abcdef"),
        (("started",), "abcdef"),
    ],
)
def test_runs_are_ordered_with_nan_and_missing_last(found: Tracking, order: tuple[str, ...], expected: str) -> None:
    assert names(found, "", *order) == expected
    pages, page = "", None
    while True:
        answer = found.search_runs([], "", list(order), include=[], limit=2, page=page)
        pages += "".join(row.run.name for row in answer.runs)
        page = answer.next_page
        if page is None:
            break
    assert pages == expected


@pytest.mark.parametrize(
    "where",
    [
        "metrics.auc > 0.4",
        "metrics.auc != 0.5",
        "not metrics.auc > 0.4",
        "not metrics.auc != 0.5",
        "metrics.auc is null",
        "not metrics.auc is null or name = 'f'",
        "metrics.auc in (0.5, 0.9) or tags.team = 'core'",
        "not (tags.team = 'ads' or params.model like '%d')",
        "params.model not like '%a' and tags.team is not null",
    ],
)
def test_a_filter_finds_the_same_whatever_runs_are_sorted_by(found: Tracking, where: str) -> None:
    unsorted = sorted(names(found, where))
    for order in (("metrics.auc",), ("tags.team desc", "metrics.auc desc"), ("params.model", "tags.team")):
        assert sorted(names(found, where, *order)) == unsorted


def test_a_run_that_starts_between_two_pages_shifts_nothing(found: Tracking) -> None:
    first = found.search_runs(limit=3)
    found.create_run("churn", "new")
    second = found.search_runs(limit=3, page=first.next_page)
    assert "".join(row.run.name for row in first.runs + second.runs) == "fedcba"


def test_a_backslash_in_a_pattern_means_itself(found: Tracking) -> None:
    found.create_run("churn", "g", params={"path": "C:\\data"})
    assert names(found, "params.path like 'C:\\%'") == "g"
    assert names(found, "params.path ilike 'c:\\D%'") == "g"
    assert names(found, "params.path = 'C:\\data'") == "g"


def test_experiments_narrow_a_search(found: Tracking) -> None:
    assert names(found, experiments=("fraud",)) == "f"
    assert names(found, experiments=("fraud", "churn")) == "fedcba"
    assert names(found, experiments=("nobody",)) == ""


def test_only_what_is_asked_for_comes_with_a_run(found: Tracking) -> None:
    bare = found.search_runs(where="name = 'a'", include=[]).runs[0]
    assert (bare.params, bare.metrics, bare.tags) == ({}, {}, {})
    full = found.search_runs(where="name = 'a'").runs[0]
    assert full == found.get_run(full.run.id)


def test_a_page_of_another_order_is_refused(found: Tracking) -> None:
    page = found.search_runs(limit=1).next_page
    assert page is not None
    for token in (page, "", "x", "bm8="):
        with pytest.raises(InvalidRequest):
            found.search_runs(order_by=["name"], limit=1, page=token)
    with pytest.raises(InvalidRequest):
        found.search_runs(limit=0)
