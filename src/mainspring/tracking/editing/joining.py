"""One metric against another one: two histories joined at their steps, as columns."""

from __future__ import annotations

import numpy as np

from mainspring.storage.sql.database import Transaction
from mainspring.tracking.editing.model import Joined
from mainspring.tracking.metrics.columns import Columns
from mainspring.tracking.metrics.reading import STEPS, read_columns
from mainspring.tracking.model import portable

_MAX_READ = 500_000
"""How many points of each metric are held for one page."""


def join(connection: Transaction, run: str, key: str, x: str, after_step: int | None, limit: int) -> Joined:
    """Give up to *limit* steps that have both metrics; of several points of a step the latest counts."""
    first = STEPS[0] if after_step is None else min(after_step + 1, STEPS[1])
    if after_step == STEPS[1]:
        return Joined(key, x, [], [], [])
    (across, across_more), (up, up_more) = (_read(connection, run, name, first) for name in (x, key))
    steps, at_x, at_y = np.intersect1d(across.steps, up.steps, assume_unique=True, return_indices=True)
    # What was not read yet lies behind the last step of whichever was read to an earlier one.
    ends = [int(read.steps[-1]) for read, more in ((across, across_more), (up, up_more)) if more]
    xs, ys = across.values()[at_x], up.values()[at_y]
    shown = steps[:limit].tolist()
    more = shown[-1] if len(steps) > limit else min(ends, default=None)
    x_values, y_values = ([portable(one) for one in values[:limit].tolist()] for values in (xs, ys))
    return Joined(key, x, shown, x_values, y_values, more)


def _read(connection: Transaction, run: str, key: str, first: int) -> tuple[Columns, bool]:
    """Give the latest point of each step from *first* on, and whether there are more than could be held."""
    found = read_columns(connection, run, key, limit=_MAX_READ, steps=(first, STEPS[1]))
    more = len(found.steps) == _MAX_READ
    latest = np.append(found.steps[1:] != found.steps[:-1], not more) if len(found.steps) else np.zeros(0, dtype=bool)
    if more and not latest.any():
        latest[-1] = True  # A step with so many points that they cannot be held: the last of them that can.
    return found.taken(np.flatnonzero(latest).tolist()), more
