"""Comparing two arms again and again without fooling oneself: tests and bounds that hold at every look at once.

A test that is repeated at each look (a z-test, say) finds harm in a third of all harmless canaries. Those here keep
their level however often one looks and whenever one stops. Three tools:

*Tilted hypergeometric test* for events that a row has or has not (an error, a slow answer, a wrong label). Given how
many of a batch's rows each arm had and how many events there were, harmless arms share the events as a hypergeometric
draw, whatever the rate of events, which may change from batch to batch. For every odds ratio w, w**K / E[w**K] of the
canary's K events has mean 1, so the product over batches is a test martingale, and so is the mean over several w (a
mixture, as in Robbins 1970). By Ville's inequality it passes 1/alpha with probability alpha at most. Exact at any
sample size; the idea of a test martingale for two samples is that of Turner, Ly & Grünwald, Generic E-variables for
exact sequential k-sample tests that allow for optional stopping (2024), who take other alternatives.

*Bounds of the difference* of the two means: the batches' differences, each weighed by its canary rows, sum up to a
martingale around the true difference. The normal mixture boundary (Howard, Ramdas, McAuliffe & Sekhon, Time-uniform,
nonparametric, nonasymptotic confidence sequences, Annals of Statistics 2021) with estimated variance makes an
asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, Time-uniform central limit theory and
asymptotic confidence sequences, Annals of Statistics 2024). Since rows are only compared within a batch, neither a
drift in time nor a share that grows tilts the comparison.

*Design effect*: rows of one unit (a user, a machine) are alike, and the arms deal units, not rows. So what the rows
show is divided by how many times more the units vary than independent rows would (Kish, Survey Sampling, 1965; as a
correction of tests: Rao & Scott, Annals of Statistics 12, 1984): the variance of the bounds is multiplied by it, the
logarithm of the test martingale divided, which is the same for a likelihood ratio of normals. It is reckoned around the
mean of the units' means, which no single unit moves, and over the whole rollout: a unit that comes again and again has
one voice. That what a unit does later repeats what it did before makes crossing a boundary no likelier than for
independent increments of the same variance (Slepian, Bell System Technical Journal 41, 1962).

*Sample ratio*: a Beta-binomial mixture against the share that was meant (Lindon & Malek, Anytime-valid inference for
multinomial count data, 2022), here against the nearest of the shares that are tolerated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

ODDS_RATIOS = (1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
_LOG_ODDS = np.log(np.array(ODDS_RATIOS))
_SRM_WEIGHT = 100.0


class Sample(msgspec.Struct, frozen=True):
    """Rows of one arm, all since a fixed start: how many, the sum of their values, the sum of squares.

    Of events, 1 where there is one and else 0, the sums are equal.
    """

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def of_events(cls, events: int, rows: int) -> Sample:
        """Give the sample of *rows* rows of which *events* have the event."""
        return cls(rows, float(events), float(events))

    @property
    def mean(self) -> float | None:
        """Give the mean; None without rows."""
        return self.total / self.count if self.count else None

    @property
    def is_events(self) -> bool:
        """Tell whether every value can have been 0 or 1."""
        return self.squares == self.total and self.total == int(self.total) and 0 <= self.total <= self.count

    def since(self, earlier: Sample) -> Sample:
        """Give the rows that came after *earlier*."""
        return Sample(self.count - earlier.count, self.total - earlier.total, self.squares - earlier.squares)

    def joined(self, other: Sample) -> Sample:
        """Give the rows of both."""
        return Sample(self.count + other.count, self.total + other.total, self.squares + other.squares)


class Clusters(msgspec.Struct, frozen=True):
    """The units behind the rows of a `Sample`: how many, the sum of their means, and sums over units of products.

    Of a unit with n rows that sum up to t, ``sizes`` takes n * n, ``crossed`` n * t and ``totals`` t * t.
    """

    units: int = 0
    means: float = 0.0
    sizes: float = 0.0
    crossed: float = 0.0
    totals: float = 0.0

    def spread(self, centre: float) -> float:
        """Give the sum of the squares of what the units' rows differ from *centre*, summed up for each unit."""
        return self.totals - 2 * centre * self.crossed + centre * centre * self.sizes


class Comparison(msgspec.Struct, frozen=True):
    """Canary against stable on one measure, of which more is worse; everything that the looks so far have shown.

    ``log_wealth`` holds the logarithm of the test martingale for each of ODDS_RATIOS; ``difference`` is the sum over
    batches of canary rows times the difference of the means, ``rows`` and ``spread`` are what its variance is made of.
    ``start`` holds the samples that the comparison begins after.
    """

    canary: Sample = Sample()
    stable: Sample = Sample()
    start: tuple[Sample, Sample] = (Sample(), Sample())
    log_wealth: tuple[float, ...] = (0.0,) * len(ODDS_RATIOS)
    difference: float = 0.0
    rows: int = 0
    spread: float = 0.0
    scale: float | None = None


class Bounds(msgspec.Struct, frozen=True):
    """The difference canary - stable, and its one-sided lower and upper bounds, each valid at all looks together.

    ``p_value`` is the always-valid one of "the canary is not worse"; None where values are not events.
    """

    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None


def advance(comparison: Comparison, canary: Sample, stable: Sample, tuned_rows: int) -> Comparison:
    """Give the comparison after another look, at which the arms have these samples in all.

    A batch in which one of the arms has nothing waits for the next look. The bounds are narrowest at about
    *tuned_rows* canary rows.
    """
    batch = canary.since(comparison.canary), stable.since(comparison.stable)
    if min(batch[0].count, batch[1].count) <= 0:
        return comparison
    wealth = comparison.log_wealth
    if batch[0].is_events and batch[1].is_events:
        wealth = tuple(float(w) for w in np.array(wealth) + _log_bets(*batch))
    scale = comparison.scale
    if scale is None:
        scale = max(_variance(batch[0].joined(batch[1])), 1e-300) * tuned_rows
    gap = batch[0].total / batch[0].count - batch[1].total / batch[1].count
    return Comparison(
        canary=canary,
        stable=stable,
        start=comparison.start,
        log_wealth=wealth,
        difference=comparison.difference + batch[0].count * gap,
        rows=comparison.rows + batch[0].count,
        spread=comparison.spread + batch[0].count ** 2 / batch[1].count,
        scale=scale,
    )


def started_at(canary: Sample, stable: Sample) -> Comparison:
    """Give a comparison that begins after these samples."""
    return Comparison(canary, stable, (canary, stable))


def bounds(comparison: Comparison, alpha: float, design_effect: float = 1.0) -> Bounds:
    """Give what the comparison shows, each side at level *alpha*; see `design_effect`."""
    samples = [
        whole.since(before)
        for whole, before in zip((comparison.canary, comparison.stable), comparison.start, strict=True)
    ]
    if not comparison.rows or comparison.scale is None:
        return Bounds(None, None, None, None)
    p_value = None
    if all(sample.is_events for sample in samples):
        p_value = min(1.0, math.exp(-_log_mean([log / design_effect for log in comparison.log_wealth])))
    # An arm that had little to show by chance would look steadier than it is: its variance is at least the common one.
    common = _within(samples)
    variances = [max(_variance(sample), common) for sample in samples]
    intrinsic = comparison.rows * variances[0] + comparison.spread * variances[1]
    reach = _boundary(intrinsic * design_effect, alpha, comparison.scale) / comparison.rows
    middle = comparison.difference / comparison.rows
    return Bounds(middle, middle - reach, middle + reach, p_value)


def design_effect(canary: tuple[Sample, Clusters], stable: tuple[Sample, Clusters]) -> float:
    """Give how many times more the difference of the arms varies than that of independent rows would; at least 1."""
    units = canary[1].units + stable[1].units
    if not units or not canary[0].count or not stable[0].count:
        return 1.0
    centre = (canary[1].means + stable[1].means) / units
    weights = 1.0, (canary[0].count / stable[0].count) ** 2
    between = within = 0.0
    for (sample, clusters), weight in zip((canary, stable), weights, strict=True):
        between += weight * clusters.spread(centre)
        within += weight * (sample.squares - 2 * centre * sample.total + centre * centre * sample.count)
    return max(1.0, between / within) if within > 0 else 1.0


def sample_ratio_p_value(canary: int, stable: int, share: float, tolerance: float) -> float:
    """Give the always-valid p-value of "units come to the canary with about this share".

    *tolerance* is relative: a share of 0.1 with a tolerance of 0.1 may be 0.09 to 0.11.
    """
    total = canary + stable
    if total == 0:
        return 1.0
    a, b = _SRM_WEIGHT * share, _SRM_WEIGHT * (1 - share)
    mixture = _log_beta(a + canary, b + stable) - _log_beta(a, b)
    low, high = share * (1 - tolerance), min(share * (1 + tolerance), 1 - (1 - share) * (1 - tolerance))
    nearest = min(max(canary / total, low), high)
    meant = canary * math.log(nearest) + stable * math.log1p(-nearest)
    return min(1.0, math.exp(min(0.0, meant - mixture)))


def _log_bets(canary: Sample, stable: Sample) -> np.ndarray:
    """Give log(w**K / E[w**K]) for each odds ratio w, where K, the canary's events, is hypergeometric."""
    n, m, found = canary.count, stable.count, round(canary.total)
    events = found + round(stable.total)
    lowest, highest = max(0, events - m), min(events, n)
    k = np.arange(lowest, highest, dtype=float)
    steps = np.log((n - k) * (events - k)) - np.log((k + 1) * (m - events + k + 1))
    log_chance = np.concatenate([[0.0], np.cumsum(steps)])
    log_chance -= log_chance.max()
    log_chance -= math.log(np.exp(log_chance).sum())
    powers = log_chance[None, :] + _LOG_ODDS[:, None] * np.arange(0, highest - lowest + 1)[None, :]
    top = powers.max(axis=1)
    expected = top + np.log(np.exp(powers - top[:, None]).sum(axis=1))
    return np.asarray(_LOG_ODDS * (found - lowest) - expected)


def _boundary(intrinsic: float, alpha: float, scale: float) -> float:
    """One-sided normal mixture boundary for a martingale of this variance, narrowest near the variance *scale*."""
    x = -2 * math.log(alpha)
    rho = scale / (x + math.log(x) + 1)
    inside = intrinsic + rho
    return math.sqrt(2 * inside * math.log1p(math.sqrt(inside / rho) / (2 * alpha)))


def _variance(sample: Sample) -> float:
    if sample.is_events:
        # One event and one other row more than seen: without any event yet, the variance is not known to be 0.
        rate = (sample.total + 1) / (sample.count + 2)
        return rate * (1 - rate)
    if sample.count < 2:
        return 0.0
    return max(0.0, (sample.squares - sample.total**2 / sample.count) / (sample.count - 1))


def _within(samples: list[Sample]) -> float:
    """Give the variance around each arm's own mean, of both arms together."""
    free = [max(0, sample.count - 1) for sample in samples]
    return sum(_variance(sample) * f for sample, f in zip(samples, free, strict=True)) / max(1, sum(free))


def _log_mean(logs: Sequence[float]) -> float:
    top = max(logs)
    return top + math.log(sum(math.exp(value - top) for value in logs) / len(logs))


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
