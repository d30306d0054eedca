"""Points of a metric, held as columns: 100,000 of them are three arrays instead of 100,000 objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mainspring.tracking.model import History, NotFinite, portable

Integers = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

_MAGNITUDE = 2**63 - 1


class Columns(NamedTuple):
    """Points in the order of step, time and number, which stands for the value as `SortableDouble` stores it."""

    steps: Integers
    at_us: Integers
    numbers: Integers

    @classmethod
    def of(cls, points: Sequence[tuple[int, ...]]) -> Columns:
        """Make columns of points."""
        return cls(*np.array(points, dtype=np.int64).reshape(-1, 3).T)

    def part(self, begin: int, end: int) -> Columns:
        """Give the points from *begin* to before *end*."""
        return Columns(self.steps[begin:end], self.at_us[begin:end], self.numbers[begin:end])

    def taken(self, places: Sequence[int]) -> Columns:
        """Give the points at some places."""
        at = np.array(places, dtype=np.int64)
        return Columns(self.steps[at], self.at_us[at], self.numbers[at])

    def followed_by(self, more: Columns) -> Columns:
        """Give these points and *more* that come after them."""
        return Columns(*(np.concatenate(both) for both in zip(self, more, strict=True)))

    def last(self) -> tuple[int, int, int]:
        """Give the last point; there must be one."""
        return int(self.steps[-1]), int(self.at_us[-1]), int(self.numbers[-1])

    def milliseconds(self) -> list[int]:
        """Give the times in milliseconds since 1970 UTC."""
        times: list[int] = (self.at_us // 1000).tolist()
        return times

    def values(self) -> Doubles:
        """Give the values that stand behind the numbers."""
        return doubles(self.numbers)

    def is_finite(self) -> bool:
        """Tell whether no value is NaN or an infinity."""
        return bool(np.isfinite(self.values()).all())

    def portables(self) -> list[float | NotFinite]:
        """Give the values as JSON can carry them."""
        return portables(self.numbers)

    def history(self, key: str, next_page: str | None = None) -> History:
        """Give these points as part of a history."""
        return History(key, self.steps.tolist(), self.at_us.tolist(), self.portables(), next_page)


def doubles(numbers: Integers) -> Doubles:
    """Give the values that stand behind numbers, as `from_sortable` does for one."""
    return np.where(numbers < 0, numbers ^ _MAGNITUDE, numbers).view(np.float64)


def portables(numbers: Integers | Sequence[int]) -> list[float | NotFinite]:
    """Give the values that stand behind numbers as JSON can carry them, as `portable` does for one."""
    values = doubles(np.asarray(numbers, dtype=np.int64))
    found: list[float] = values.tolist()
    # Hardly ever is one not finite.
    return [*found] if np.isfinite(values).all() else [portable(value) for value in found]
