import numpy as np
import polars as pl
import pytest

from mainspring.core.errors import InvalidData
from mainspring.registry.quality import Scores
from mainspring.training.candidates import CANDIDATES, Candidate, Problem
from mainspring.training.columns import Column
from mainspring.training.search import Attempt, Ground, best_of, search, weights_of
from mainspring.training.split import Split, ages, split_at_random

PROBLEM = Problem("binary", 2, "accuracy", 0)
LINEAR = {"linear": CANDIDATES["linear"]}


def ground(rows=300, *, ageing=False):
    rng = np.random.default_rng(0)
    x = rng.normal(size=rows)
    truth = (x + rng.normal(0, 0.5, rows) > 0).astype(int)
    (split,) = split_at_random(truth, 2, 0)
    if ageing:
        split = Split(split.learn, split.judge, ages(split.learn))
    return Ground(pl.DataFrame({"x": x}), [Column("x", "numeric")], truth, [split], None)


def test_sound_candidates_come_first_and_are_told_as_they_end():
    told = []
    made = search(
        ground(),
        PROBLEM,
        CANDIDATES,
        trials=5,
        budget_s=600,
        note=lambda number, attempt: told.append((number, attempt)),
    )
    assert [attempt.candidate for attempt in made[:4]] == ["linear", "boosting", "boosting", "extra_trees"]
    assert made[0].parameters == {"strength": 1.0}
    assert told == list(enumerate(made))


def test_recency_is_searched_only_where_rows_have_a_time():
    assert all("half_life" not in a.parameters for a in search(ground(), PROBLEM, LINEAR, trials=3, budget_s=600))
    lives = [a.parameters["half_life"] for a in search(ground(ageing=True), PROBLEM, LINEAR, trials=3, budget_s=600)]
    assert lives == [0.0, 0.1, 0.3]


def test_a_search_that_starts_from_earlier_parameters_tries_them_first():
    start = {"candidate": "linear", "strength": 0.25, "half_life": 0.3}
    made = search(ground(ageing=True), PROBLEM, CANDIDATES, trials=6, budget_s=600, start_from=start)
    assert [(a.parameters["strength"], a.parameters["half_life"]) for a in made[:5]] == [
        (0.25, 0.3),
        (0.25, 0.01),
        (0.25, 0.03),
        (0.25, 0.1),
        (0.25, 0.0),
    ]
    assert made[5].candidate == "boosting"


def test_parameters_of_a_kind_that_is_gone_are_passed_over():
    made = search(ground(), PROBLEM, LINEAR, trials=1, budget_s=600, start_from={"candidate": "gone"})
    assert made[0].parameters == {"strength": 1.0}


def test_one_candidate_that_fails_does_not_end_the_search():
    def fail(problem, parameters):
        raise ValueError("no such luck")

    candidates = {"bad": Candidate("bad", "trees", fail, lambda trial: {}, [{}]), **LINEAR}
    made = search(ground(), PROBLEM, candidates, trials=2, budget_s=600)
    assert (made[0].value, made[0].failure) == (None, "no such luck")
    assert best_of(made, ground(), PROBLEM) is made[1]
    with pytest.raises(InvalidData, match="no such luck"):
        search(ground(), PROBLEM, {"bad": candidates["bad"]}, trials=2, budget_s=600)


def answered(ground, share, certainty):
    truth = ground.truth[ground.judged]
    right = np.arange(len(truth)) < share * len(truth)
    label = np.where(right, truth, 1 - truth)
    p = np.where(label == 1, certainty, 1 - certainty)
    return Attempt("c", {}, float(right.mean()), Scores(label, np.column_stack([1 - p, p])), 0.1)


def test_what_the_metric_cannot_tell_apart_is_told_by_the_log_loss():
    rows = ground(1000)
    best, sure, careful = answered(rows, 0.90, 0.999), answered(rows, 0.70, 0.7), answered(rows, 0.895, 0.88)
    assert best_of([best, sure, careful], rows, PROBLEM) is careful
    assert best_of([best, sure], rows, PROBLEM) is best


def test_weights_halve_with_every_half_life():
    weights = weights_of(np.array([0.0, 0.1, 0.2]), 0.1)
    np.testing.assert_allclose(weights / weights[0], [1, 0.5, 0.25])
    assert weights.mean() == pytest.approx(1)
    assert weights_of(np.array([0.0, 1.0]), 0.0) is None
    assert weights_of(None, 0.1) is None


@pytest.mark.parametrize("style", ["trees", "linear"])
def test_nothing_of_the_judged_rows_is_known_to_the_preparation_of_what_is_learned(style):
    rng = np.random.default_rng(0)
    level, number = rng.choice(list("abcd"), 400), rng.normal(size=400)
    truth = (rng.random(400) < np.where(level < "c", 0.2, 0.8)).astype(int)
    split = Split(np.arange(300), np.arange(300, 400))
    columns = [Column("level", "categorical"), Column("number", "numeric")]

    def learned(judged_truth, judged_number):
        frame = pl.DataFrame({"level": level, "number": np.r_[number[:300], judged_number]})
        known = np.r_[truth[:300], judged_truth]
        return Ground(frame, columns, known, [split], None).features(0, style, 2)[0]

    as_it_is = learned(truth[300:], number[300:])
    assert np.array_equal(as_it_is, learned(1 - truth[300:], number[300:] * 1000))
