"""The promise of the budget on simulated traffic: silent while nothing changes, quick when something does."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from mainspring.monitoring import budget
from mainspring.monitoring.comparison import compare, missing_column
from mainspring.monitoring.model import Budget, Effects, Finding, Profile, Windows
from mainspring.monitoring.profile import profile_column, profile_frame
from mainspring.monitoring.quality import findings_of, performance_of, quality_of
from mainspring.registry.quality import Scores

ROWS, WINDOWS, COLUMNS = 500, 50, 10


def series(rng: np.random.Generator, rows: int, memory: float) -> np.ndarray:
    noise = rng.normal(size=(rows + 200, COLUMNS)) * np.sqrt(1 - memory**2)
    values = np.zeros_like(noise)
    for row in range(1, len(noise)):
        values[row] = memory * values[row - 1] + noise[row]
    return values[200:]


def first_alarm(profiles: list[Profile], live: np.ndarray, effects: Effects) -> int | None:
    for number in range(1, len(live) // ROWS + 1):
        alpha = budget.alpha(Budget(), Windows(rows=ROWS), number, number) * budget.INPUTS
        share = budget.per_column(alpha, len(profiles))
        window = live[(number - 1) * ROWS : number * ROWS]
        for place, profile in enumerate(profiles):
            findings = compare(profile, pl.Series(profile.name, window[:, place]), effects, share, 50)
            if any(finding.alarming for finding in findings):
                return number
    return None


def runs_with_an_alarm(memory: float, runs: int, reference: int) -> int:
    alarmed = 0
    for seed in range(runs):
        rng = np.random.default_rng([seed, int(memory * 100)])
        values = series(rng, reference + ROWS * WINDOWS, memory)
        profiles = profile_frame(pl.DataFrame({f"c{i}": values[:reference, i] for i in range(COLUMNS)}))
        # Without the threshold of effect, the statistics alone must keep the budget.
        alarmed += first_alarm(profiles, values[reference:], Effects(psi=0.0)) is not None
    return alarmed


@pytest.mark.parametrize("memory", [0.0, 0.9])
def test_fewer_than_one_stationary_run_in_twenty_raises_an_alarm(memory: float):
    # With a true chance of 0.03 for a run, more than 2 of 20 come in 2 % of the cases; the seeds are fixed.
    assert runs_with_an_alarm(memory, 20, 5000) <= 1


@pytest.mark.parametrize("memory", [0.0, 0.5])
def test_a_shift_of_half_a_deviation_is_found_in_the_first_windows(memory: float):
    for seed in range(5):
        values = series(np.random.default_rng(seed), 5000 + ROWS * 13, memory)
        live = values[5000:].copy()
        live[10 * ROWS :, 3] += 0.5
        profiles = profile_frame(pl.DataFrame({f"c{i}": values[:5000, i] for i in range(COLUMNS)}))
        assert first_alarm(profiles, live, Effects()) in (11, 12, 13)


def one(reference: list | np.ndarray | pl.Series, window: list | np.ndarray | pl.Series, kind: str) -> Finding:
    findings = compare(profile_column(pl.Series("c", reference)), pl.Series("c", window), Effects(), 1e-5, 50)
    return next(finding for finding in findings if finding.kind == kind)


def letters(rng: np.random.Generator, rows: int) -> list[str]:
    return rng.choice(["a", "b", "c", "d"], rows, p=[0.5, 0.3, 0.15, 0.05]).tolist()


def test_a_new_level_in_a_twentieth_of_the_rows_is_found():
    rng = np.random.default_rng(1)
    finding = one(letters(rng, 4000), letters(rng, 380) + ["new"] * 20, "new_levels")
    assert finding.alarming
    assert finding.note == "new: new"


def test_levels_that_keep_coming_in_the_reference_are_no_alarm():
    rng = np.random.default_rng(2)
    coming = [f"tail{n}" for n in rng.zipf(1.5, 6000)]
    assert not one(coming[:5000], coming[5000:5400], "new_levels").alarming


def test_a_tenth_of_nulls_is_found():
    rng = np.random.default_rng(3)
    window = pl.Series(rng.normal(size=300)).scatter(np.arange(30), None)
    assert one(rng.normal(size=3000), window, "nulls").alarming
    assert not one(window, window.shuffle(1), "nulls").alarming


def test_text_in_a_column_of_numbers_is_a_change_of_type():
    finding = one([1.0, 2.5, 3.0] * 100, ["1.0", "2.5", "n/a"] * 30, "type_changed")
    assert finding.alarming
    assert "'n/a'" in finding.note


def test_numbers_that_come_as_text_are_still_numbers():
    rng = np.random.default_rng(4)
    values = rng.normal(size=1000)
    assert not one(values, [str(value) for value in rng.normal(size=300)], "distribution").alarming


def test_numbers_in_a_column_of_text_are_a_change_of_type():
    assert one(["a", "b"] * 100, [1, 2] * 40, "type_changed").alarming


def test_a_constant_that_changes_is_found():
    assert one([7] * 500, [7] * 190 + [8] * 10, "new_levels").alarming


def test_a_missing_column_is_certain():
    assert missing_column(profile_column(pl.Series("c", [1, 2, 3]))).alarming


def customers(rng: np.random.Generator, rows: int) -> pl.DataFrame:
    plan = rng.choice(["a", "b", "c"], rows, p=[0.6, 0.3, 0.1])
    return pl.DataFrame({"x": rng.normal(size=rows), "y": rng.normal(5, 2, rows), "plan": plan})


def some(rng: np.random.Generator, frame: pl.DataFrame, name: str, value: str | None) -> pl.DataFrame:
    hit = pl.Series(rng.random(frame.height) < 0.05)
    return frame.with_columns(pl.when(hit).then(pl.lit(value)).otherwise(pl.col(name)).alias(name))


@pytest.mark.parametrize(
    ("kind", "column", "drift"),
    [
        ("missing_column", "y", lambda rng, frame: frame.drop("y")),
        ("nulls", "x", lambda rng, frame: some(rng, frame, "x", None)),
        ("type_changed", "x", lambda rng, frame: frame.with_columns(pl.format("{} m", "x").alias("x"))),
        ("new_levels", "plan", lambda rng, frame: some(rng, frame, "plan", "new")),
        ("distribution", "x", lambda rng, frame: frame.with_columns(pl.col("x") + 0.5)),
        ("distribution", "x", lambda rng, frame: frame.with_columns(pl.col("x") * 1.6)),
        (None, None, lambda rng, frame: frame),
    ],
    ids=["column missing", "nulls", "type", "new levels", "shift", "spread", "nothing"],
)
def test_each_kind_of_drift_is_found_in_its_first_window_and_named_as_what_it_is(
    kind: str | None, column: str | None, drift: Callable[[np.random.Generator, pl.DataFrame], pl.DataFrame]
):
    late = budget.alpha(Budget(), Windows(), 20, 20)
    share = budget.per_column(late * budget.INPUTS, 3)
    for seed in range(70_000, 70_008):
        rng = np.random.default_rng(seed)
        profiles = profile_frame(customers(rng, 4000))
        window = drift(rng, customers(rng, 500))
        found = [
            finding
            for profile in profiles
            for finding in (
                compare(profile, window[profile.name], Effects(), share, 50)
                if profile.name in window.columns
                else [missing_column(profile)]
            )
        ]
        alarms = {(finding.kind, finding.column) for finding in found if finding.alarming}
        assert alarms == ({(kind, column)} if kind else set())


@pytest.mark.parametrize(
    "column",
    [
        pl.Series("c", range(1000)),
        pl.Series("c", pl.datetime_range(pl.datetime(2026, 1, 1), pl.datetime(2026, 1, 9), "1h", eager=True)),
        pl.Series("c", [1] * 300 + [2] * 300 + [3] * 300),
        pl.Series("c", [f"id{n * 7919 % 1000}" for n in range(1000)]),
        pl.Series("c", [None, None], dtype=pl.Float64),
    ],
    ids=["counter", "timestamp", "month", "id", "empty"],
)
def test_columns_that_only_count_time_or_rows_are_excluded_with_a_reason(column: pl.Series):
    profile = profile_column(column)
    assert profile.excluded
    assert compare(profile, column.reverse(), Effects(), 1.0, 1) == []


def test_a_large_window_without_a_real_change_is_no_alarm():
    rng = np.random.default_rng(5)
    finding = one(rng.normal(size=200_000), rng.normal(size=100_000) + 0.05, "distribution")
    assert finding.p < finding.share
    assert not finding.alarming


def answers(rng: np.random.Generator, rows: int, accuracy: float) -> tuple[np.ndarray, Scores]:
    truth = rng.integers(0, 2, rows)
    label = np.where(rng.random(rows) < accuracy, truth, 1 - truth)
    p = np.where(label == 1, 0.8, 0.2)
    return truth, Scores(label, np.column_stack([1 - p, p]))


def first_loss(seed: int, before: int, after: int, accuracy: float) -> int | None:
    rng = np.random.default_rng(seed)
    quality, seen = quality_of("accuracy", "binary", *answers(rng, 2000, 0.9)), []
    for number in range(1, before + after + 1):
        performance = performance_of(quality, *answers(rng, 300, 0.9 if number <= before else accuracy))
        assert performance is not None
        seen = [*seen, performance][-4:]
        alpha = budget.alpha(Budget(), Windows(rows=300), number, number) * budget.LABELS
        if any(finding.alarming for finding in findings_of(quality, seen, alpha)):
            return number
    return None


def test_a_loss_of_a_tenth_of_accuracy_is_found_within_four_windows():
    found = [first_loss(seed, 10, 4, 0.8) for seed in range(20)]
    assert all(number in (11, 12, 13, 14) for number in found)
    assert found.count(14) <= 4


def test_steady_quality_raises_no_alarm():
    assert sum(first_loss(seed, 50, 0, 0.9) is not None for seed in range(40)) <= 1


def test_the_shares_of_a_budget_sum_to_no_more_than_it():
    windows = Windows(rows=None, seconds=86_400)
    assert sum(budget.alpha(Budget(), Windows(), k, k) for k in range(1, 5000)) <= 0.02
    assert sum(budget.alpha(Budget(), windows, k, (k - 1) % 30 + 1) for k in range(1, 400)) <= 0.03
    assert sum(budget.alpha(Budget(reference=None), windows, k, k) for k in range(1, 31)) <= 0.02 + 1e-12


@pytest.mark.parametrize("name", ["count", "level", "rows"])
@pytest.mark.parametrize("ordered", [True, False])
def test_no_name_of_a_column_gets_in_the_way(name, ordered):
    levels = pl.Series(name, ["a", "b"] * 500)
    found = compare(profile_column(levels, ordered=ordered), pl.Series(name, ["a", "new"] * 500), Effects(), 1e-5, 50)
    assert any(finding.kind == "new_levels" and finding.alarming and "new" in finding.note for finding in found)
