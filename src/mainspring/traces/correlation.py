"""How much two properties of traces go together: their pointwise mutual information, between -1 and 1."""

from __future__ import annotations

import math

import msgspec

JEFFREYS = 0.5
"""What is added to each of the four counts, so that few traces say little."""


class Counts(msgspec.Struct, frozen=True):
    """How many traces there are, how many have the first property, the second, and both."""

    total: int
    first: int
    second: int
    both: int


def association(counts: Counts, prior: float = 0.0) -> float:
    """Give the normalised pointwise mutual information of two properties, NaN where there is none.

    -1: they are never together; 0: independent; 1: always together. *prior* is added to each cell of the table.
    """
    if counts.first == 0 or counts.second == 0:
        return math.nan
    only_first, only_second = counts.first - counts.both, counts.second - counts.both
    neither = counts.total - counts.first - counts.second + counts.both
    if counts.both == 0 and not prior:
        return -1.0
    if counts.both == counts.first == counts.second == counts.total:
        return 1.0
    both, total = counts.both + prior, counts.total + 4 * prior
    first, second = both + only_first + prior, both + only_second + prior
    if neither < 0 or min(first, second) <= 0:
        return math.nan
    information = math.log(both) + math.log(total) - math.log(first) - math.log(second)
    return max(-1.0, min(1.0, information / (math.log(total) - math.log(both))))
