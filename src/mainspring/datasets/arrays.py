"""The columns of a table as a model's session takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl


def arrays_of(frame: pl.DataFrame, names: Sequence[str]) -> dict[str, Any]:
    """Give columns as a model's session takes them: arrays, and lists where there are texts."""
    found: dict[str, Any] = {}
    for name in names:
        series = frame[name]
        if series.dtype == pl.Date:
            series = series.cast(pl.Datetime("ms"))
        if isinstance(series.dtype, pl.Datetime):
            found[name] = series.dt.replace_time_zone(None).to_numpy()
        elif series.dtype.is_numeric():
            found[name] = series.to_numpy()
        else:
            found[name] = series.to_list()
    return found
