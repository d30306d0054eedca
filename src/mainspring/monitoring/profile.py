"""What is normal for a column: binned distribution, levels, nulls, and how much all that varies by itself."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainspring.monitoring.dispersion import of_shares
from mainspring.monitoring.model import Profile

Array = NDArray[Any]

MOST_BINS = 10
_ROWS_PER_BIN = 25
_MOST_LEVELS = 20
_ROWS = "\0rows"  # a column may have any name that people can type
_MOST_KNOWN = 10_000
_TREND = 0.95
_CHUNKS = 8
_MICROS_PER_S = 1e6


def profile_frame(frame: pl.DataFrame, *, ordered: bool = True, ignore: list[str] | None = None) -> list[Profile]:
    """Learn what is normal for every column of *frame*.

    *ordered* tells that the rows stand in the order of time, which shows how alike neighbours are and which columns
    only count time. Columns of *ignore* are left out.
    """
    return [profile_column(column, ordered=ordered) for column in frame if column.name not in (ignore or [])]


def profile_column(column: pl.Series, *, ordered: bool = True) -> Profile:
    """Learn what is normal for one column; *ordered* as in profile_frame."""
    values = plain(column)
    present = values.drop_nulls()
    excluded = _pointless(values, present, ordered)
    if values.dtype == pl.Float64:
        return _numeric(column.name, values, present.to_numpy(), excluded, ordered)
    return _categorical(column.name, values, present, excluded, ordered)


def plain(column: pl.Series) -> pl.Series:
    """Give a column as Float64 (numbers, and times in seconds) or as String (all else); NaN becomes null."""
    kind = column.dtype
    if kind.is_numeric():
        return column.cast(pl.Float64).fill_nan(None)
    if kind in (pl.Date, pl.Datetime):
        return column.dt.epoch("us").cast(pl.Float64) / _MICROS_PER_S
    if kind in (pl.Duration, pl.Time):
        return column.cast(pl.Int64).cast(pl.Float64)
    if kind == pl.Null:
        return column.cast(pl.String)
    if kind.is_nested() or kind in (pl.Binary, pl.Object):
        return pl.Series(column.name, [None if value is None else repr(value) for value in column], dtype=pl.String)
    return column.cast(pl.String)


def bin_codes(profile: Profile, present: pl.Series) -> Array:
    """Give the bin of each value (no nulls among them) of a plain column."""
    if profile.kind == "numeric":
        return np.searchsorted(np.array(profile.edges), present.to_numpy(), side="left")
    places = pl.Series(range(len(profile.levels)), dtype=pl.Int64)
    levels = pl.Series(profile.levels, dtype=pl.String)
    return present.replace_strict(levels, places, default=len(profile.levels), return_dtype=pl.Int64).to_numpy()


def bins_of(profile: Profile) -> int:
    """Give the number of bins of a profile."""
    return len(profile.edges if profile.kind == "numeric" else profile.levels) + 1


def _numeric(name: str, values: pl.Series, present: Array, excluded: str | None, ordered: bool) -> Profile:
    finite = present[np.isfinite(present)]
    edges = _edges(finite)
    codes = np.searchsorted(edges, present, side="left")
    constant = len(finite) > 0 and finite.min() == finite.max()
    return Profile(
        name=name,
        kind="numeric",
        rows=len(values),
        nulls=values.null_count(),
        counts=np.bincount(codes, minlength=len(edges) + 1).tolist(),
        edges=edges.tolist(),
        known=[repr(float(finite[0]))] if constant else [],
        unseen_rows=len(present) if constant else 0,
        mean=float(finite.mean()) if len(finite) else None,
        deviation=float(finite.std()) if len(finite) else None,
        shares=of_shares(codes, len(edges) + 1) if ordered else [],
        null_shares=_null_shares(values, ordered),
        excluded=excluded,
    )


def _edges(finite: Array) -> Array:
    distinct = np.unique(finite)
    if len(distinct) <= MOST_BINS:
        return np.asarray(distinct[:-1])
    bins = int(np.clip(len(finite) // _ROWS_PER_BIN, 2, MOST_BINS))
    edges = np.unique(np.quantile(finite, np.arange(1, bins) / bins, method="higher"))
    return np.asarray(edges[edges < distinct[-1]])


def _categorical(name: str, values: pl.Series, present: pl.Series, excluded: str | None, ordered: bool) -> Profile:
    counted = present.value_counts(sort=True, name=_ROWS)
    known = counted[values.name].to_list()
    levels = known[:_MOST_LEVELS]
    counts = counted[_ROWS].to_list()
    unseen, unseen_rows = (0, 0) if excluded else _unseen(present, ordered)
    profile = Profile(
        name=name,
        kind="categorical",
        rows=len(values),
        nulls=values.null_count(),
        counts=[*counts[:_MOST_LEVELS], sum(counts[_MOST_LEVELS:])],
        levels=levels,
        known=[] if excluded else known,
        unseen=unseen,
        unseen_rows=unseen_rows,
        null_shares=_null_shares(values, ordered),
        excluded=excluded,
    )
    if excluded or not ordered:
        return profile
    return with_shares(profile, present)


def with_shares(profile: Profile, present: pl.Series) -> Profile:
    """Give the profile with the dispersion of its bins as *present* shows it: values in time order, no nulls."""
    return msgspec.structs.replace(profile, shares=of_shares(bin_codes(profile, present), bins_of(profile)))


def _null_shares(values: pl.Series, ordered: bool) -> list[Any]:
    if not ordered or not 0 < values.null_count() < len(values):
        return []
    return of_shares(values.is_null().to_numpy().astype(np.int64), 2)


def _unseen(present: pl.Series, ordered: bool) -> tuple[int, int]:
    """Count, in the later half, the rows whose level had not come before; of how many rows.

    Rows in no order are dealt with by Good's estimate: as many as there are levels that came once (Good, Biometrika 40,
    1953).
    """
    if not ordered:
        return int((present.value_counts(name=_ROWS)[_ROWS] == 1).sum()), len(present)
    size = max(1, len(present) // _CHUNKS)
    unseen = rows = 0
    for chunk in range(_CHUNKS // 2, _CHUNKS):
        # The comparison is with what a reference of this length would know.
        earlier = present[: chunk * size].unique()
        later = present[chunk * size : (chunk + 1) * size]
        unseen += int((~later.is_in(earlier.implode())).sum())
        rows += len(later)
    return unseen, rows


def _pointless(values: pl.Series, present: pl.Series, ordered: bool) -> str | None:
    if len(present) == 0:
        return "the reference holds no value of it"
    distinct = present.n_unique()
    if ordered and distinct > 2 and (_monotone(present) or abs(_trend(present)) >= _TREND):
        return "it grows or falls with time itself (a timestamp, a counter, an id)"
    if values.dtype == pl.String and len(present) >= 100 and (distinct > len(present) / 2 or distinct > _MOST_KNOWN):
        return f"it has {distinct} levels in {len(present)} rows (an id or free text)"
    return None


def _monotone(present: pl.Series) -> bool:
    return present.is_sorted() or present.is_sorted(descending=True)


def _trend(present: pl.Series) -> float:
    # Spearman's rank correlation with the order of the rows.
    ranks = present.rank("average").to_numpy()
    spread = float(ranks.std())
    if not spread > 0 or len(ranks) < 3:
        return 0.0
    order = np.arange(len(ranks), dtype=np.float64)
    return float(np.mean((ranks - ranks.mean()) * (order - order.mean())) / (spread * order.std()))
