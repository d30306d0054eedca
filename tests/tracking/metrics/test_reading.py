"""Histories come exactly as they were logged: whole, page by page, thinned, and at the same steps of several runs."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from mainspring.core.errors import InvalidRequest
from mainspring.tracking.metrics import reading, sampling
from mainspring.tracking.metrics.thinning import Thinning
from mainspring.tracking.model import Metric
from mainspring.tracking.service import Tracking

ODD = [0.0, -0.0, 1.5, -1.5, 5e-324, -5e-324, 1.7976931348623157e308, -1.7976931348623157e308, 0.1, -(2.0**-1022)]


def log(tracking: Tracking, points: list[tuple[int, float]], key: str = "m", experiment: str = "e") -> str:
    run = tracking.create_run(experiment).id
    for at in range(0, len(points), 1_000):
        part = [Metric(key, value, step, 1_000 * step + 7) for step, value in points[at : at + 1_000]]
        tracking.log_batch(run, part)
    return run


def steps_of(tracking: Tracking, runs: list[str], most: int, steps: tuple[int, int] | None = None) -> list[list[int]]:
    found = tracking.histories.sampled(runs, "m", most, steps)
    return [found[run].steps.tolist() if run in found else [] for run in runs]


def expected(logged: list[list[int]], most: int, steps: tuple[int, int] = (-(2**63), 2**63 - 1)) -> list[list[int]]:
    """What MLflow's server gives: of each run the first of *most* parts of it, and the last point for the last part."""
    low, high = steps
    asked = [sorted(step for step in run if low <= step <= high) for run in logged]
    parts = [[part for part in np.array_split(run, most) if len(part)] for run in asked]
    return [[int(part[0]) for part in found[:-1]] + run[-1:] for found, run in zip(parts, asked, strict=True)]


def test_every_value_and_time_comes_back_exactly(tracking: Tracking) -> None:
    values = [*ODD, math.inf, -math.inf, math.nan, *(random.Random(1).uniform(-1e9, 1e9) for _ in range(500))]
    run = log(tracking, list(enumerate(values, -5)))
    found = tracking.metric_history(run, "m")
    assert found.steps == list(range(-5, len(values) - 5))
    assert found.at_us == [1_000 * step + 7 for step in found.steps]
    assert [float(value) for value in found.values] == pytest.approx(values, rel=0, abs=0, nan_ok=True)
    (whole,) = tracking.histories.whole(run, "m")
    assert whole.history("m") == found
    assert tracking.metric_history(run, "never logged").values == []
    assert [part.values().tolist() for part in tracking.histories.whole("nobody", "m")] == [[]]


def test_a_history_is_the_same_in_parts(tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    run = log(tracking, [(step // 3, float(step)) for step in range(100)])
    pages, page = [], None
    while True:
        part = tracking.metric_history(run, "m", limit=7, page=page)
        pages += part.values
        page = part.next_page
        if page is None:
            break
    assert pages == [float(step) for step in range(100)]
    monkeypatch.setattr("mainspring.tracking.metrics.service.MAX_PART", 10)
    assert [value for part in tracking.histories.whole(run, "m") for value in part.values()] == pages


@pytest.mark.parametrize("method", ["minmax", "lttb", "even"])
def test_a_thinned_history_has_points_of_the_whole_with_its_ends(tracking: Tracking, method: Thinning) -> None:
    values = [math.sin(step / 50) for step in range(2_000)]
    values[777] = 9.0
    run = log(tracking, list(enumerate(values)))
    found = tracking.metric_history(run, "m", most=100, method=method)
    assert len(found.steps) <= 100
    assert (found.steps[0], found.steps[-1], found.next_page) == (0, 1_999, None)
    assert found.values == [values[step] for step in found.steps]
    assert method == "even" or 777 in found.steps
    assert len(tracking.metric_history(run, "m", most=5_000, method=method).steps) == 2_000


def test_a_history_too_long_to_be_held_keeps_its_peaks_when_thinned(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_PART", 100)
    monkeypatch.setattr(reading, "MAX_HELD", 300)
    values = [float(step % 10) for step in range(2_000)]
    values[123], values[1_877] = -50.0, 50.0
    run = log(tracking, list(enumerate(values)))
    found = tracking.metric_history(run, "m", most=40)
    assert {0, 123, 1_877, 1_999} <= set(found.steps)


def test_a_thinned_history_has_no_pages(tracking: Tracking) -> None:
    run = log(tracking, [(0, 1.0), (1, 2.0)])
    page = tracking.metric_history(run, "m", limit=1).next_page
    for most in (0, 25_001):
        with pytest.raises(InvalidRequest):
            tracking.metric_history(run, "m", most=most)
    with pytest.raises(InvalidRequest):
        tracking.metric_history(run, "m", most=5, page=page)


@pytest.mark.parametrize(
    ("logged", "most", "steps"),
    [
        ([list(range(10))], 5, None),
        ([list(range(10)), list(range(20))], 5, None),
        ([list(range(10))], 5, (4, 8)),
        ([list(range(0, 1_001, 10))], 5, (0, 1_000)),
        ([list(range(900, 1_200))], 50, (1_000, 1_100)),
        ([list(range(7, 500, 7)), list(range(14, 700, 7))], 11, None),
        ([list(range(50)), list(range(100, 150))], 10, None),
        ([[1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144]], 4, None),
        ([[5], list(range(0, 100, 3))], 8, None),
        ([[5], [9]], 1, None),
        ([list(range(10)), []], 3, None),
        ([list(range(-20, 20))], 6, (-10, 10)),
        ([list(range(30))], 6, (40, 50)),
    ],
)
def test_a_chart_has_the_steps_that_mlflow_would_take(
    tracking: Tracking, logged: list[list[int]], most: int, steps: tuple[int, int] | None
) -> None:
    runs = [log(tracking, [(step, step / 2) for step in run]) for run in logged]
    assert steps_of(tracking, runs, most, steps) == expected(logged, most, *([steps] if steps else []))


def test_a_gap_in_regular_steps_is_noticed(tracking: Tracking) -> None:
    logged = [step for step in range(300) if not 100 <= step < 200]
    run = log(tracking, [(step, 0.0) for step in logged])
    assert steps_of(tracking, [run], 10) == expected([logged], 10)


def test_points_of_one_step_are_thinned_as_those_of_many(tracking: Tracking) -> None:
    few = log(tracking, [(step, value) for step in range(10) for value in (1.0, 2.0)])
    assert steps_of(tracking, [few], 5) == expected([[step for step in range(10) for _ in (1, 2)]], 5)
    many = log(tracking, [(0, float(value)) for value in range(3_000)])
    found = tracking.histories.sampled([many], "m", 100)[many]
    values = found.values().tolist()
    assert (len(values), values[0], values[-1]) == (100, 0.0, 2_999.0)


def test_a_chart_of_more_than_can_be_looked_through_still_reaches_both_ends(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "MAX_SCANNED", 100)
    logged = [step * step for step in range(400)]
    run = log(tracking, [(step, 0.0) for step in logged])
    (steps,) = steps_of(tracking, [run], 50)
    assert (steps[0], steps[-1]) == (0, 399 * 399)
    assert 40 <= len(steps) <= 50
    assert set(steps) <= set(logged)
