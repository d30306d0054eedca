"""How sure one may be of a metric on few rows."""

from collections.abc import Callable

import numpy as np
import pytest

from mainspring.monitoring import budget
from mainspring.monitoring.model import Budget, Performance, Windows
from mainspring.monitoring.quality import POOLED, findings_of, performance_of, quality_of
from mainspring.registry.quality import Array, Scores
from mainspring.registry.signature import Task

Made = tuple[Array, Scores]


def rare_classes(rng: np.random.Generator, rows: int, strength: float = 1.8) -> Made:
    truth = (rng.random(rows) < 0.07).astype(int)
    truth[:3], truth[3] = 0, 1
    chance = 1 / (1 + np.exp(-(rng.normal(size=rows) + strength * truth - 2)))
    return truth, Scores((chance > 0.5).astype(int), np.stack([1 - chance, chance], 1))


def mostly_right(rng: np.random.Generator, rows: int) -> Made:
    truth = (rng.random(rows) < 0.5).astype(int)
    return truth, Scores(np.where(rng.random(rows) < 0.85, truth, 1 - truth))


def first_alarm(
    metric: str, task: Task, made: Callable[[int], Made], *, reference: int, size: int, windows: int
) -> int | None:
    quality, shown = quality_of(metric, task, *made(reference)), list[Performance]()
    for number in range(1, windows + 1):
        performance = performance_of(quality, *made(size))
        if performance is None:
            continue
        shown.append(performance)
        alpha = budget.alpha(Budget(), Windows(rows=size), number, number)
        if any(finding.alarming for finding in findings_of(quality, shown[-POOLED:], alpha * budget.LABELS)):
            return number
    return None


@pytest.mark.parametrize(("reference", "size", "windows"), [(36, 25, 14), (60, 25, 24)])
def test_a_few_rows_of_the_rare_class_raise_no_alarm_while_nothing_changes(reference, size, windows):
    def alarmed(seed: int) -> bool:
        rng = np.random.default_rng(seed)
        made = lambda rows: rare_classes(rng, rows)  # noqa: E731
        return first_alarm("roc_auc", "binary", made, reference=reference, size=size, windows=windows) is not None

    assert sum(alarmed(seed) for seed in range(40)) <= 1


def test_a_reference_of_few_rows_without_a_mistake_is_no_promise():
    truth = np.array([0, 1] * 9)
    quality = quality_of("accuracy", "binary", truth, Scores(truth))
    assert quality.error > 0.03
    later = np.array([0, 1] * 13)
    answers = later.copy()
    answers[:7] = 1 - answers[:7]
    performance = performance_of(quality, later, Scores(answers))
    assert performance is not None
    alpha = budget.alpha(Budget(), Windows(rows=26), 1, 1) * budget.LABELS
    assert not any(finding.alarming for finding in findings_of(quality, [performance], alpha))


def test_a_lost_rank_of_the_rare_class_is_found_where_there_are_enough_of_it():
    rng = np.random.default_rng(5)
    strength = iter([1.8, *[0.0] * 10])
    made = lambda rows: rare_classes(rng, rows, next(strength))  # noqa: E731
    assert (first_alarm("roc_auc", "binary", made, reference=800, size=200, windows=10) or 99) <= 3


def test_many_rows_are_as_sure_as_their_own_spread():
    truth, scores = mostly_right(np.random.default_rng(6), 4_000)
    value = np.mean(truth == scores.label)
    assert quality_of("accuracy", "binary", truth, scores).error == pytest.approx(
        np.sqrt(value * (1 - value) / 4_000), rel=0.01
    )


def test_a_bad_hour_within_a_window_is_no_lost_quality_but_a_window_bad_throughout_is():
    rng = np.random.default_rng(7)

    def made(wrong: Array) -> Made:
        return wrong, Scores(np.zeros(len(wrong)))

    quality = quality_of("rmse", "regression", *made(rng.normal(size=360)))
    hour, change = rng.normal(size=90), 3 * rng.normal(size=90)
    hour[40:52] = 5

    def alarms(wrong: Array) -> bool:
        performance = performance_of(quality, *made(wrong))
        assert performance is not None
        return any(finding.alarming for finding in findings_of(quality, [performance], 1e-3))

    assert not alarms(hour)
    assert alarms(change)
