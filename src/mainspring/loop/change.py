"""When did it begin to go wrong? The row from which on the answers were worse than before."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# The supremum of a Brownian bridge passes 1.36 by chance in 5 of 100 series; neighbours that are alike pass it oftener.
_SURE = 1.6
_FEWEST = 20
_OUTLIERS = 0.99


def losses_of(truth: Array, answers: Array, *, numbers: bool) -> Array:
    """Give what each answer lost: whether the label was wrong, or of numbers the squared error, cut at its 99 %."""
    if not numbers:
        return np.asarray(truth != answers, dtype=float)
    squared = (truth - answers) ** 2
    return np.asarray(np.minimum(squared, np.quantile(squared, _OUTLIERS))) if len(squared) else squared


def worse_since(losses: Array, fewest: int = _FEWEST) -> int | None:
    """Give how many of the newest rows lie after the last change for the worse; None when none is sure.

    What becomes worse step by step has no one beginning and its first rows are old news: so the rows after a change are
    searched again while more than *fewest* are left.
    """
    found = _change(losses)
    while found is not None and (later := _change(losses[-found:])) is not None and later >= fewest:
        found = later
    return found


def _change(losses: Array) -> int | None:
    """Give how many rows lie after the one place that parts better from worse best; None when none is sure.

    The place is where the cumulative sum of deviations from the mean lies lowest (CUSUM: Page, Biometrika 41, 1954;
    Brown, Durbin & Evans, JRSS-B 37, 1975), weighed so that places near the ends count as much as those in the middle.
    """
    rows, spread = len(losses), float(np.std(losses)) if len(losses) else 0.0
    if rows < 2 * _FEWEST or not spread > 0:
        return None
    fallen = -np.cumsum(losses - losses.mean())[_FEWEST - 1 : rows - _FEWEST] / (spread * np.sqrt(rows))
    if not fallen.max() > _SURE and not _late(losses, spread):
        return None
    share = np.arange(_FEWEST, rows - _FEWEST + 1) / rows
    return rows - (_FEWEST + int(np.argmax(fallen / np.sqrt(share * (1 - share)))))


def _late(losses: Array, spread: float) -> bool:
    # A great change near the end moves the sum little: it shows where the newest rows are held against all before.
    newest = max(_FEWEST, len(losses) // 20)
    before, now = losses[:-newest], losses[-newest:]
    return bool((now.mean() - before.mean()) / (spread * np.sqrt(1 / newest + 1 / len(before))) > 2 * _SURE)
