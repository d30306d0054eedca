"""A thinned history keeps its ends, its peaks and its shape, and never has more points than there is room for."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest

from mainspring.tracking.metrics.thinning import Doubles, Thinning, chosen

METHODS: list[Thinning] = ["minmax", "lttb", "even"]


def noise(size: int, seed: int = 0) -> Doubles:
    return np.random.default_rng(seed).normal(size=size).cumsum()


@pytest.mark.parametrize("method", METHODS)
def test_there_are_never_more_points_than_asked_for_and_the_ends_are_among_them(method: Thinning) -> None:
    for size, most in itertools.product((1, 2, 3, 4, 5, 7, 100, 1_001), (1, 2, 3, 4, 5, 6, 99, 100, 320)):
        places = chosen(range(size), noise(size), most, method)
        assert places == sorted(set(places))
        assert len(places) <= most
        assert places[-1] == size - 1
        assert places[0] == 0 or most == 1
        assert size > most or places == list(range(size)), "nothing is left out while there is room"


@pytest.mark.parametrize("seed", range(20))
def test_minmax_keeps_the_extremes_of_the_whole_and_of_each_stretch(seed: int) -> None:
    values = noise(5_002, seed)
    at = random.Random(seed).randrange(5_002)
    values[at] += 1_000.0
    places = chosen(range(5_002), values, 102, "minmax")
    assert {int(values.argmin()), int(values.argmax())} <= set(places)
    for stretch in np.array_split(np.arange(1, 5_001), 50):
        kept = values[[place for place in places if stretch[0] <= place <= stretch[-1]]]
        assert (kept.min(), kept.max()) == (values[stretch].min(), values[stretch].max())


def test_even_points_stand_at_even_distances() -> None:
    places = chosen(range(100_000), noise(100_000), 320, "even")
    gaps = np.diff(places)
    assert len(places) == 320
    assert gaps.max() - gaps.min() <= 1


def test_lttb_takes_the_corners_of_a_line() -> None:
    corners = [0, 250, 450, 600, 999]
    values = np.interp(np.arange(1_000), corners, [0.0, 0.0, 800.0, 800.0, 0.0])
    assert {250, 450, 600} <= set(chosen(range(1_000), values, 12, "lttb"))


def test_lttb_keeps_peaks_that_even_points_miss() -> None:
    x = np.arange(20_000)
    peaks = {int(at) for at in x[x % 1_777 == 5]}
    values = np.sin(x / 3_000) + 5.0 * (x % 1_777 == 5)
    assert peaks <= set(chosen(x, values, 200, "lttb"))
    assert not peaks <= set(chosen(x, values, 200, "even"))


@pytest.mark.parametrize("method", ["minmax", "lttb"])
def test_what_is_not_finite_neither_breaks_nor_hides_the_rest(method: Thinning) -> None:
    values = noise(1_000)
    values[::3] = math.nan
    values[500], values[700] = math.inf, -math.inf
    places = chosen(range(1_000), values, 50, method)
    assert {500, 700} <= set(places)
    assert sum(math.isnan(values[place]) for place in places) <= 2
    assert len(chosen(range(1_000), np.full(1_000, math.nan), 50, method)) in range(24, 51)
