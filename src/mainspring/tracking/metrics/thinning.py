"""Which points of a long history a chart shows: chosen so that it looks as if all were drawn."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

Thinning = Literal["minmax", "lttb", "even"]

Doubles = npt.NDArray[np.float64]


def chosen(steps: npt.ArrayLike, values: Doubles, most: int, method: Thinning) -> list[int]:
    """Give the places of up to *most* points, ascending, with the first and the last; all when there are no more.

    ``minmax`` keeps the least and the greatest value of each stretch, so no peak is lost; ``lttb`` keeps the shape with
    the fewest points; ``even`` keeps what stands at even distances, whatever its value.
    """
    if len(values) <= most:
        return list(range(len(values)))
    if most <= 2:
        return [0, len(values) - 1][-most:]
    if method == "even":
        return evenly(len(values), most)
    if method == "minmax":
        return minmax(values, most)
    return lttb(np.asarray(steps, dtype=np.float64), values, most)


def evenly(total: int, most: int) -> list[int]:
    """Give up to *most* places out of *total*, evenly spread, with the first and the last; a single one is the last."""
    if most == 1:
        return [total - 1]
    return sorted({round(place * (total - 1) / (most - 1)) for place in range(most)})


def minmax(values: Doubles, most: int) -> list[int]:
    """Keep the first and the last point, and of each of equal stretches between them the least and the greatest.

    Of 3 to *most* points; with room for 3 only, that is the one farthest from the middle. A NaN is neither least nor
    greatest; a stretch of nothing else gives its first.
    """
    last = len(values) - 1
    stretches = max(1, (most - 2) // 2)
    bounds = _bounds(last, stretches)
    kept = {0, last}
    for begin, end in pairwise(bounds):
        part = values[begin:end]
        real = ~np.isnan(part)
        if not real.any():
            kept.add(begin)
            continue
        least = begin + int(np.argmin(np.where(real, part, math.inf)))
        greatest = begin + int(np.argmax(np.where(real, part, -math.inf)))
        kept |= {least, greatest} if most > 3 else {greatest}
    return sorted(kept)


def lttb(steps: Doubles, values: Doubles, most: int) -> list[int]:
    """Keep of each of equal stretches the point that makes the largest triangle with its neighbours.

    These are the point kept before it and the mean of the next stretch. The method is Largest Triangle Three Buckets,
    of Sveinn Steinarsson: Downsampling Time Series for Visual Representation, University of Iceland, 2013, section 4.2.
    An infinity makes an infinite triangle; a NaN makes none, and is kept where a stretch has nothing else.
    """
    last = len(values) - 1
    bounds = [*_bounds(last, most - 2), last + 1]
    kept = [0]
    # What is not finite counts for nothing in means, and decides alone where it stands.
    plain = np.where(np.isfinite(values), values, 0.0)
    for at in range(most - 2):
        begin, end, beyond = bounds[at : at + 3]
        mean_step, mean_value = steps[end:beyond].mean(), plain[end:beyond].mean()
        before_step, before_value = steps[kept[-1]], plain[kept[-1]]
        areas = np.abs(
            (before_step - mean_step) * (plain[begin:end] - before_value)
            - (before_step - steps[begin:end]) * (mean_value - before_value)
        )
        part = values[begin:end]
        areas = np.where(np.isinf(part), math.inf, np.where(np.isnan(part), -1.0, areas))
        kept.append(begin + int(np.argmax(areas)))
    return [*kept, last]


def _bounds(last: int, stretches: int) -> list[int]:
    """Give where each of equal stretches of what lies between the first point and the last one begins, and the end."""
    return [1 + (last - 1) * place // stretches for place in range(stretches + 1)]
