"""The level is kept however often one looks, and harm is found soon."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from mainspring.rollouts.sequential import (
    ODDS_RATIOS,
    Clusters,
    Comparison,
    Sample,
    _log_bets,
    advance,
    bounds,
    design_effect,
    sample_ratio_p_value,
    started_at,
)

ALPHA = 0.05
SHARES = (0.05, 0.25, 0.5)


def growing_share(looks: int) -> list[float]:
    return [SHARES[look * len(SHARES) // looks] for look in range(looks)]


def events(
    random: np.random.Generator, shares: list[float], rows: int, canary: list[float], stable: list[float]
) -> Iterator[Comparison]:
    """Look after look at two arms whose rates of events may change from look to look."""
    comparison, totals = Comparison(), np.zeros(4, dtype=int)
    for share, rate_canary, rate_stable in zip(shares, canary, stable, strict=True):
        n = int(random.binomial(rows, share))
        totals += [n, random.binomial(n, rate_canary), rows - n, random.binomial(rows - n, rate_stable)]
        samples = Sample.of_events(int(totals[1]), int(totals[0])), Sample.of_events(int(totals[3]), int(totals[2]))
        comparison = advance(comparison, *samples, tuned_rows=1000)
        yield comparison


@pytest.mark.parametrize(
    "rates",
    [[0.01] * 30, [0.001] * 30, list(np.linspace(0.01, 0.3, 30))],
    ids=["one percent", "one in a thousand", "rising thirtyfold while the share grows"],
)
def test_harmless_canaries_are_rarely_called_harmful_however_often_one_looks(rates: list[float]) -> None:
    random = np.random.default_rng(7)
    simulations, false, beyond = 500, 0, np.zeros(2)
    for _ in range(simulations):
        seen = [bounds(found, ALPHA) for found in events(random, growing_share(30), 400, rates, rates)]
        false += any(look.p_value is not None and look.p_value <= ALPHA for look in seen)
        beyond += [any((look.low or 0) > 0 for look in seen), any((look.high or 0) < 0 for look in seen)]
    allowed = ALPHA + 2.5 * math.sqrt(ALPHA * (1 - ALPHA) / simulations)
    assert false / simulations <= ALPHA
    assert max(beyond) / simulations <= allowed


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_four_percent_of_errors_instead_of_one_are_found_in_a_few_hundred_requests(seed: int) -> None:
    random = np.random.default_rng(seed)
    needed = []
    for _ in range(100):
        found = events(random, [0.1] * 60, 500, [0.04] * 60, [0.01] * 60)
        harm = (c.canary.count for c in found if (bounds(c, ALPHA / 3).p_value or 1) <= ALPHA / 3)
        needed.append(next(harm, math.inf))
    assert np.median(needed) < 400
    assert max(needed) < 2000


def draws(random: np.random.Generator) -> dict[str, Callable[[int], np.ndarray]]:
    return {
        "normal": lambda n: random.normal(1, 1, n),
        "skewed": lambda n: random.exponential(1, n),
        "heavy": lambda n: random.lognormal(0, 1, n),
    }


@pytest.mark.parametrize("kind", ["normal", "skewed", "heavy"])
@pytest.mark.parametrize("worse", [0.0, 0.3])
@pytest.mark.parametrize("drift", [0.0, 3.0])
def test_the_bounds_of_a_difference_of_losses_hold_at_all_looks_at_once(kind: str, worse: float, drift: float) -> None:
    random = np.random.default_rng(11)
    draw = draws(random)[kind]
    simulations, missed, found = 200, np.zeros(2), 0
    for _ in range(simulations):
        comparison, arms = Comparison(), np.zeros((2, 3))
        seen = []
        for look, share in enumerate(growing_share(30)):
            n = int(random.binomial(300, share))
            for arm, size, extra in ((0, n, worse), (1, 300 - n, 0.0)):
                values = draw(size) + extra + drift * look / 30
                arms[arm] += [size, values.sum(), (values**2).sum()]
            samples = [Sample(int(arm[0]), float(arm[1]), float(arm[2])) for arm in arms]
            comparison = advance(comparison, samples[0], samples[1], tuned_rows=1000)
            seen.append(bounds(comparison, ALPHA))
        missed += [any((b.low or -9) > worse for b in seen), any((b.high or 9) < worse for b in seen)]
        found += any((b.low or -9) > 0 for b in seen)
    assert max(missed) / simulations <= ALPHA
    if worse:
        assert found / simulations > (0.5 if kind == "heavy" or drift else 0.95)


def test_a_share_that_grows_while_the_task_gets_harder_does_not_look_like_harm() -> None:
    # Most canary rows come late, when every row is harder: the plain means differ, the arms do not.
    comparison = Comparison()
    canary, stable = [0, 0.0, 0.0], [0, 0.0, 0.0]
    for n, m, level in ((50, 950, 0.0), (500, 500, 10.0)):
        for arm, size in ((canary, n), (stable, m)):
            values = level + np.linspace(-1, 1, size)
            arm[0] += size
            arm[1] += float(values.sum())
            arm[2] += float((values**2).sum())
        comparison = advance(
            comparison, Sample(int(canary[0]), *canary[1:]), Sample(int(stable[0]), *stable[1:]), tuned_rows=500
        )
    assert canary[1] / canary[0] > stable[1] / stable[0] + 5
    assert bounds(comparison, ALPHA).difference == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("n", "m", "count"), [(3, 5, 4), (10, 90, 7), (50, 50, 60), (1, 200, 1), (5, 5, 10)])
def test_a_bet_has_mean_one_when_the_arms_are_alike(n: int, m: int, count: int) -> None:
    every = math.comb(n + m, count)
    mean = np.zeros(len(ODDS_RATIOS))
    for k in range(max(0, count - m), min(count, n) + 1):
        chance = math.comb(n, k) * math.comb(m, count - k) / every
        mean += chance * np.exp(_log_bets(Sample.of_events(k, n), Sample.of_events(count - k, m)))
    assert mean == pytest.approx(1)


def test_a_batch_with_one_empty_arm_waits_for_the_next_look() -> None:
    waiting = advance(Comparison(), Sample.of_events(3, 10), Sample(), 100)
    assert waiting == Comparison()
    assert bounds(waiting, ALPHA).difference is None
    later = advance(waiting, Sample.of_events(3, 10), Sample.of_events(0, 90), 100)
    assert later.rows == 10
    assert (bounds(later, ALPHA).p_value or 1) < 1


def test_what_was_before_the_start_does_not_count() -> None:
    before = Sample.of_events(50, 100), Sample.of_events(0, 900)
    comparison = advance(started_at(*before), Sample.of_events(50, 200), Sample.of_events(0, 1800), tuned_rows=1000)
    seen = bounds(comparison, ALPHA)
    assert (seen.difference, seen.p_value) == (0.0, 1.0)


def test_no_event_at_all_bounds_the_difference_and_proves_nothing() -> None:
    comparison = advance(Comparison(), Sample.of_events(0, 1000), Sample.of_events(0, 9000), tuned_rows=1000)
    seen = bounds(comparison, ALPHA / 3)
    assert seen.p_value == 1.0
    assert seen.high is not None
    assert 0 < seen.high < 0.01


def test_the_right_share_of_units_is_rarely_called_wrong_and_lost_units_are_found() -> None:
    random = np.random.default_rng(5)
    for share in (0.05, 0.5):
        false = found = 0
        for _ in range(300):
            canary, stable = np.cumsum(random.binomial(200, share, 60)), np.arange(1, 61) * 200
            pairs = [(int(c), int(total - c)) for c, total in zip(canary, stable, strict=True)]
            false += any(sample_ratio_p_value(c, s, share, 0.1) <= 0.01 for c, s in pairs)
            found += any(sample_ratio_p_value(int(c * 0.6), s, share, 0.1) <= 0.01 for c, s in pairs)
        assert false / 300 <= 0.01
        assert found / 300 > 0.95


class Users:
    """Users who come again and again: how often, and how many of their requests fail on either arm."""

    def __init__(self, random: np.random.Generator, weights: np.ndarray, rates: np.ndarray) -> None:
        self.random, self.weights, self.rates = random, weights / weights.sum(), rates
        self.places = random.random(len(rates))

    def looks(self, rows: int, harm: float = 0.0) -> Iterator[tuple[Comparison, float]]:
        """Look after look, with the design effect by then; *harm* is added to what fails on the canary."""
        comparison, requests, failed = Comparison(), np.zeros((2, len(self.rates))), np.zeros((2, len(self.rates)))
        for share in growing_share(30):
            canary = self.places < share
            came = self.random.multinomial(rows, self.weights)
            fails = self.random.binomial(came, np.minimum(1, self.rates + harm * canary))
            for arm, mine in enumerate((canary, ~canary)):
                requests[arm] += came * mine
                failed[arm] += fails * mine
            arms = [self.arm(n, t) for n, t in zip(requests, failed, strict=True)]
            comparison = advance(comparison, arms[0][0], arms[1][0], tuned_rows=1000)
            yield comparison, design_effect(arms[0], arms[1])

    @staticmethod
    def arm(n: np.ndarray, t: np.ndarray) -> tuple[Sample, Clusters]:
        n, t = n[n > 0], t[n > 0]
        clusters = Clusters(len(n), float((t / n).sum()), float(n @ n), float(n @ t), float(t @ t))
        return Sample.of_events(int(t.sum()), int(n.sum())), clusters


def harmful(comparison: Comparison, effect: float = 1.0) -> bool:
    p_value = bounds(comparison, ALPHA, effect).p_value
    return p_value is not None and p_value <= ALPHA


def few_machines(random: np.random.Generator) -> Users:
    return Users(random, random.lognormal(0, 1, 60), random.beta(0.2, 5, 60))


def frail_users(random: np.random.Generator) -> Users:
    return Users(random, np.ones(600), random.beta(0.05, 2, 600))


def heavy_users_of_whom_some_always_fail(random: np.random.Generator) -> Users:
    rates = np.where(random.random(600) < 0.02, 1.0, 0.01)
    return Users(random, random.pareto(1.1, 600) + 0.05, rates)


def a_healthy_robot_with_a_third_of_the_traffic(random: np.random.Generator) -> Users:
    return Users(random, np.array([750.0] + [1.0] * 1500), np.array([0.0] + [0.01] * 1500))


@pytest.mark.parametrize(
    "population",
    [few_machines, frail_users, heavy_users_of_whom_some_always_fail, a_healthy_robot_with_a_third_of_the_traffic],
)
def test_users_who_fail_wherever_they_are_do_not_make_their_arm_look_harmful(
    population: Callable[[np.random.Generator], Users],
) -> None:
    random = np.random.default_rng(911)
    simulations, false, naive = 200, 0, 0
    for _ in range(simulations):
        seen = list(population(random).looks(400))
        false += any(harmful(found, effect) for found, effect in seen)
        naive += any(harmful(found) for found, _ in seen)
    allowed = ALPHA + 2.5 * math.sqrt(ALPHA * (1 - ALPHA) / simulations)
    assert false / simulations <= allowed
    assert naive / simulations > allowed  # Requests taken for independent are wrong about these users.


def test_harm_to_all_users_is_found_although_they_come_again_and_again() -> None:
    random = np.random.default_rng(912)
    found = 0
    for _ in range(60):
        users = Users(random, random.lognormal(0, 1, 2000), random.beta(0.5, 20, 2000))
        found += any(harmful(comparison, effect) for comparison, effect in users.looks(400, harm=0.04))
    assert found / 60 > 0.95


def test_bounds_of_losses_that_are_alike_within_a_user_hold_at_all_looks() -> None:
    random = np.random.default_rng(913)
    simulations, beyond, naive = 120, 0, 0
    for _ in range(simulations):
        users, places = random.normal(0, 1, 400), random.random(400)
        n, t, squares, comparison = np.zeros((2, 400)), np.zeros((2, 400)), np.zeros(2), Comparison()
        outside = wrong = False
        for share in growing_share(30):
            came = random.integers(0, 400, 300)
            values = users[came] + random.normal(0, 0.5, 300)
            for arm, mine in enumerate((places[came] < share, places[came] >= share)):
                np.add.at(n[arm], came[mine], 1)
                np.add.at(t[arm], came[mine], values[mine])
                squares[arm] += float((values[mine] ** 2).sum())
            arms = [
                (Sample(int(n[a].sum()), float(t[a].sum()), float(squares[a])), Users.arm(n[a], t[a])[1])
                for a in (0, 1)
            ]
            comparison = advance(comparison, arms[0][0], arms[1][0], tuned_rows=1000)
            outside |= (bounds(comparison, ALPHA, design_effect(*arms)).low or 0) > 0
            wrong |= (bounds(comparison, ALPHA).low or 0) > 0
        beyond, naive = beyond + outside, naive + wrong
    assert beyond / simulations <= ALPHA
    assert naive / simulations > 2 * ALPHA


def test_a_robot_that_drowns_an_arm_in_its_own_rows_does_not_decide_what_is_normal() -> None:
    # One user in a hundred fails on either arm; of the stable arm's rows it is one in ten thousand.
    n, t = np.ones(1000), np.repeat([1.0, 0.0], [10, 990])
    canary, stable = Users.arm(n, t), Users.arm(np.append(n, 100_000.0), np.append(t, 0.0))
    comparison = advance(Comparison(), canary[0], stable[0], tuned_rows=1000)
    assert harmful(comparison)
    assert design_effect(canary, stable) > 5
    assert not harmful(comparison, design_effect(canary, stable))
