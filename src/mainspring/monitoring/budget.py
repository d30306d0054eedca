"""How a budget of false alarms is shared out over windows, columns and tests, so that their sum keeps it.

The number of windows is not known beforehand, so the k-th gets a share that falls as k^-1.5 and sums to one (alpha
spending as in sequential trials, Lan & DeMets, Biometrika 70, 1983; by a convergent series as in Foster & Stine, JRSS-B
70, 2008). Within a window the share is split among its tests (Bonferroni): it holds under any dependence between them.
"""

from __future__ import annotations

import math

from mainspring.monitoring.model import MONTH, Budget, Windows

_POWER = 1.5
_SUM = 2.612375348685488  # Riemann's zeta at 1.5

# Quality and predictions sum up what columns do, so they get as much as many columns together.
INPUTS, LABELS = 0.7, 0.3
PREDICTIONS, REFUSED = 0.25, 0.05
DISTRIBUTION, NULLS, NEW_LEVELS = 0.6, 0.2, 0.2


def series(k: int) -> float:
    """Give the share of the k-th window, from 1; the shares of all windows sum to one."""
    return math.pow(k, -_POWER) / _SUM


def spent(windows: int) -> float:
    """Give the sum of the shares of the first *windows* windows."""
    return sum(series(k) for k in range(1, windows + 1))


def alpha(budget: Budget, windows: Windows, number: int, in_month: int) -> float:
    """Give the chance of a false alarm that window *number* since the reference, *in_month* of its month, may take."""
    month = budget.month * series(in_month)
    if windows.seconds is not None:
        # Windows of time can be counted beforehand, so each gets the same.
        month = budget.month / math.ceil(MONTH.total_seconds() / windows.seconds)
    return month if budget.reference is None else min(month, budget.reference * series(number))


def per_column(share: float, columns: int) -> float:
    """Give the part of an input window's *share* that each of *columns* tested columns gets."""
    return share * (1 - PREDICTIONS - REFUSED) / max(1, columns)
