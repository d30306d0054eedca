"""Association runs from -1 (never together) over 0 (independent) to 1 (always together)."""

from __future__ import annotations

import math

import pytest

from mainspring.traces.correlation import JEFFREYS, Counts, association


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (Counts(100, 20, 50, 10), 0),
        (Counts(10, 4, 3, 0), -1),
        (Counts(10, 4, 4, 4), 1),
        (Counts(5, 5, 5, 5), 1),
        (Counts(10, 6, 7, 6), math.log(10 / 7) / math.log(10 / 6)),
    ],
)
def test_the_ends_and_the_middle(counts: Counts, expected: float) -> None:
    assert association(counts) == pytest.approx(expected)


@pytest.mark.parametrize("counts", [Counts(0, 0, 0, 0), Counts(10, 0, 5, 0), Counts(10, 5, 0, 0)])
def test_what_never_happens_goes_with_nothing(counts: Counts) -> None:
    assert math.isnan(association(counts)) and math.isnan(association(counts, JEFFREYS))


def test_a_prior_makes_few_traces_say_less() -> None:
    few, many = Counts(4, 2, 2, 2), Counts(400, 200, 200, 200)
    assert 0 < association(few, JEFFREYS) < association(many, JEFFREYS) < 1
    assert -1 < association(Counts(4, 2, 2, 0), JEFFREYS) < 0
