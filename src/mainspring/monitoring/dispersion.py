"""How much windows of a series differ among themselves when nothing has changed: design effects, learnt from blocks.

Rows of a log follow each other in time, so that neighbours are alike, and a test that takes them for independent
alarms on ordinary days. Therefore the reference is cut into blocks, and the covariance of the block means is compared
with what independent rows would give (the design effect of cluster sampling: Kish, Survey Sampling, 1965; as a
correction of chi-square statistics: Rao & Scott, Annals of Statistics 12, 1984). It is learnt at several sizes of
block, because it grows with the size until the blocks are longer than the memory of the series.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_MOST_BLOCKS = 128
_FEWEST_BLOCKS = 8
_FEWEST_ROWS = 10
_PLATEAU_Z = 1.282


class Dispersion(msgspec.Struct, frozen=True, array_like=True):
    """The design effect of blocks of ``rows`` rows.

    ``factors`` say, for each direction in which the block means vary, how many times more they do than those of
    independent rows would. ``certainty`` is the degrees of freedom that the estimate in one direction rests on.
    """

    rows: int
    factors: list[float]
    certainty: float

    @property
    def factor(self) -> float:
        """Give the mean of the factors, at least 1."""
        return max(1.0, sum(self.factors) / len(self.factors))

    @property
    def freedom(self) -> float:
        """Give the degrees of freedom of ``factor``: the certainty, for each direction that counts beside the first."""
        return self.certainty * max(1.0, sum(self.factors) / max(1e-9, *self.factors, 0.0))


def independent(rank: int, rows: int) -> Dispersion:
    """Give the dispersion of rows that are known to be independent."""
    return Dispersion(rows, [1.0] * rank, 1e6)


def of_shares(codes: Array, bins: int) -> list[Dispersion]:
    """Learn the dispersion of the shares of *bins* bins from their *codes*, in time order; empty for too few rows."""
    shares = np.bincount(codes, minlength=bins) / max(1, len(codes))
    used = np.flatnonzero(shares > 0)
    if len(used) < 2:
        return []
    expected, root = shares[used], np.sqrt(shares[used])

    def deviations(blocks: int, rows: int) -> Array:
        kept = codes[: blocks * rows]
        counts = np.bincount(np.repeat(np.arange(blocks), rows) * bins + kept, minlength=blocks * bins)
        means = counts.reshape(blocks, bins)[:, used] / rows
        return np.asarray(math.sqrt(rows) * (means - expected) / root)

    return _learn(len(codes), len(used) - 1, deviations)


def of_mean(values: Array) -> list[Dispersion]:
    """Learn the dispersion of the mean of *values*, in time order; empty for too few rows or a constant."""
    spread = float(np.std(values)) if len(values) else 0.0
    if not spread > 0:
        return []
    standard = (values - np.mean(values)) / spread

    def deviations(blocks: int, rows: int) -> Array:
        means = standard[: blocks * rows].reshape(blocks, rows).mean(axis=1)
        return np.asarray(math.sqrt(rows) * means[:, None])

    return _learn(len(values), 1, deviations)


def _learn(n: int, rank: int, deviations: Any) -> list[Dispersion]:
    """Go from many short blocks to few long ones; long ones borrow from the shorter ones while they agree."""
    found: list[Dispersion] = []
    pooled: Array | None = None
    certainty = 0.0
    blocks = _MOST_BLOCKS
    while blocks >= _FEWEST_BLOCKS:
        rows = n // blocks
        if rows >= _FEWEST_ROWS:
            deviation = deviations(blocks, rows)
            deviation = deviation - deviation.mean(axis=0)
            own, freedom = deviation.T @ deviation / (blocks - 1), float(blocks - 1)
            if pooled is not None and _agrees(own, freedom, pooled, certainty, rank):
                borrowed = certainty / 2
                own = (freedom * own + borrowed * pooled) / (freedom + borrowed)
                freedom += borrowed
            pooled, certainty = own, freedom
            found.append(_dispersion(rows, own, freedom, rank))
        blocks //= 2
    return found


def _agrees(own: Array, freedom: float, before: Array, certainty: float, rank: int) -> bool:
    # Two variance estimates: their log ratio has variance 2/df1 + 2/df2, a df for each direction that counts.
    first, second = float(np.trace(own)), float(np.trace(before))
    if first <= 0 or second <= 0:
        return first <= second
    factors = _factors(before, certainty, rank)
    directions = float(factors.sum() ** 2 / (factors**2).sum())
    error = math.sqrt(2 / (freedom * directions) + 2 / (certainty * directions))
    return math.log(first / second) <= _PLATEAU_Z * error


def _dispersion(rows: int, covariance: Array, freedom: float, rank: int) -> Dispersion:
    factors = _factors(covariance, freedom, rank)
    # A cycle that fits its block makes block means steadier than chance; a window may cut it elsewhere.
    return Dispersion(rows, (factors / min(1.0, max(factors.mean(), 1e-9))).round(4).tolist(), freedom)


def _factors(covariance: Array, freedom: float, rank: int) -> Array:
    """Give the eigenvalues, drawn together by as much as chance alone drives them apart.

    The mean square of true eigenvalues follows from an unbiased tr(S^2) (Bai & Saranadasa, Statistica Sinica 6, 1996);
    the shrinkage to their mean is that of Ledoit & Wolf, Journal of Multivariate Analysis 88, 2004.
    """
    values = np.sort(np.linalg.eigvalsh(covariance))[::-1][:rank].clip(0.0)
    mean = values.mean()
    if rank == 1 or mean <= 0:
        return np.asarray(values)
    square, trace = float((values**2).sum()), float(values.sum())
    unbiased = freedom**2 / ((freedom - 1) * (freedom + 2)) * (square - trace**2 / freedom)
    apart = square - trace**2 / rank
    kept = math.sqrt(min(1.0, max(0.0, unbiased - trace**2 / rank) / apart)) if apart > 0 else 0.0
    return np.asarray(mean + kept * (values - mean))


def for_window(learnt: list[Dispersion], rows: int, rank: int) -> Dispersion:
    """Give the dispersion of a window of *rows* rows.

    Between two sizes the greater factor counts. Beyond the longest blocks the factor grows on as it grew among the
    longest three sizes, at most in proportion to the rows. Nothing learnt means independent rows.
    """
    if not learnt:
        return independent(rank, rows)
    ordered = sorted(learnt, key=lambda d: d.rows)
    longer = next((place for place, d in enumerate(ordered) if d.rows >= rows), None)
    if longer == 0:
        return ordered[0]
    if longer is not None:
        return max(ordered[longer - 1 : longer + 1], key=lambda d: d.factor)
    last = ordered[-1]
    growth = (rows / last.rows) ** _slope(ordered[-3:])
    return Dispersion(rows, [factor * growth for factor in last.factors], last.certainty)


def _slope(ordered: list[Dispersion]) -> float:
    if len(ordered) < 2:
        return 0.0
    x, y = np.log([d.rows for d in ordered]), np.log([d.factor for d in ordered])
    return float(np.clip(np.polyfit(x, y, 1)[0], 0.0, 1.0))
