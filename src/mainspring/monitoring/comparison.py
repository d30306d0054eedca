"""Compare a window's column with what is normal: sure enough for the budget, and large enough to matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainspring.monitoring.budget import DISTRIBUTION, NEW_LEVELS, NULLS
from mainspring.monitoring.dispersion import for_window
from mainspring.monitoring.model import AlarmKind, Effects, Finding, Profile
from mainspring.monitoring.profile import bin_codes, plain
from mainspring.monitoring.tails import share_above, sum_above

Array = NDArray[Any]

_FEWEST_EXPECTED = 5.0
_TYPE_SHARE = 0.01


def missing_column(profile: Profile) -> Finding:
    """Give the finding that a column of the reference is not there at all."""
    return _certain(profile.name, "missing_column", "the column is missing")


def compare(profile: Profile, column: pl.Series, effects: Effects, share: float, fewest: int) -> list[Finding]:
    """Test one column of a window; *share* is the part of the budget for all its tests together.

    Distributions are tested from *fewest* rows on; columns that the profile excludes are tested for their type only.
    """
    values, failed = _as_profiled(profile, plain(column))
    if failed is not None and failed.alarming:
        return [failed]
    if profile.excluded is not None:
        return []
    present = values.drop_nulls()
    findings = [_nulls(profile, values, effects.nulls, share * NULLS)]
    if profile.known:
        findings.append(_new_levels(profile, present, effects.new_levels, share * NEW_LEVELS))
    if len(present) >= fewest:
        findings += distribution(profile, present, effects.psi, share * DISTRIBUTION, "distribution")
    return findings


def distribution(
    profile: Profile, present: pl.Series, threshold: float, share: float, kind: AlarmKind
) -> list[Finding]:
    """Test whether the shares of the bins are still those of the reference; no finding when there is one bin only.

    The statistic is Pearson's chi-square of two samples. Of rows in time it is distributed as a sum of chi-squares
    weighted by the design effects, which are themselves estimates (Rao & Scott 1984; Thomas & Rao, JASA 82, 1987). The
    effect is the population stability index, less what chance alone gives it (Yurdakul & Naranjo, Journal of Risk Model
    Validation 14, 2020).
    """
    before = np.array(profile.counts, dtype=float)
    now = np.bincount(bin_codes(profile, present), minlength=len(before)).astype(float)
    before, now = _merge_rare(before, now)
    rank = len(before) - 1
    if rank < 1:
        return []
    spread = for_window(profile.shares, len(present), rank)
    statistic = _chi_square(before, now)
    p = sum_above(statistic, spread.factors[:rank], spread.freedom)
    effect = _stability_index(before, now) - rank * spread.factor * (1 / now.sum() + 1 / before.sum())
    return [
        Finding(
            column=profile.name,
            kind=kind,
            test="chi-square, corrected for neighbours that are alike",
            statistic=statistic,
            p=p,
            share=share,
            effect=max(0.0, float(effect)),
            threshold=threshold,
            note=_moved(profile, present),
        )
    ]


def shares_differ(
    name: str,
    kind: AlarmKind,
    now: tuple[int, int],
    before: tuple[int, int],
    threshold: float,
    share: float,
    factor: float = 1.0,
    note: str = "",
) -> Finding:
    """Test whether a share of rows, each as (count, rows), has grown; counts are divided by the design effect."""
    (count, rows), (earlier, rows_before) = now, before
    p = share_above(count / factor, rows / factor, earlier / factor, rows_before / factor)
    effect = count / max(1, rows) - earlier / max(1, rows_before)
    return Finding(
        column=name,
        kind=kind,
        test="beta-binomial tail of a share",
        statistic=count / max(1, rows),
        p=p,
        share=share,
        effect=max(0.0, effect),
        threshold=threshold,
        note=note,
    )


def _as_profiled(profile: Profile, values: pl.Series) -> tuple[pl.Series, Finding | None]:
    """Give the column in the reference's type, and a finding when values could not be turned into it."""
    if profile.kind == "categorical" and values.dtype == pl.Float64:
        texts = values.map_elements(_number_text, return_dtype=pl.String)
        if len(values.drop_nulls()) and not any(_is_number(level) for level in profile.levels):
            return texts, _certain(profile.name, "type_changed", "text was expected, numbers came")
        return texts, None
    if profile.kind == "numeric" and values.dtype == pl.String:
        numbers = values.cast(pl.Float64, strict=False)
        lost = numbers.null_count() - values.null_count()
        if lost > _TYPE_SHARE * len(values):
            example = values.filter(numbers.is_null() & values.is_not_null())[0]
            note = f"numbers were expected; {lost} of {len(values)} values are none, such as {str(example)[:40]!r}"
            return numbers, _certain(profile.name, "type_changed", note)
        return numbers, None
    return values, None


def _nulls(profile: Profile, values: pl.Series, threshold: float, share: float) -> Finding:
    spread = for_window(profile.null_shares, len(values), 1)
    now, before = (values.null_count(), len(values)), (profile.nulls, profile.rows)
    return shares_differ(profile.name, "nulls", now, before, threshold, share, spread.factor)


def _new_levels(profile: Profile, present: pl.Series, threshold: float, share: float) -> Finding:
    known = pl.Series(profile.known, dtype=pl.String)
    if profile.kind == "numeric":
        known = known.cast(pl.Float64)
    new = present.filter(~present.is_in(known.implode()))
    names = new.alias("level").value_counts(sort=True)["level"].head(5).to_list() if len(new) else []
    factor = for_window(profile.shares, len(present), 1).factor
    note = f"new: {', '.join(str(name)[:40] for name in names)}" if names else ""
    now, before = (len(new), len(present)), (profile.unseen, profile.unseen_rows)
    return shares_differ(profile.name, "new_levels", now, before, threshold, share, factor, note)


def _merge_rare(before: Array, now: Array) -> tuple[Array, Array]:
    """Join the rarest bins until all expect five rows of the smaller sample (Cochran, Biometrics 10, 1954)."""
    total = before + now
    expected = total / total.sum() * min(before.sum(), now.sum())
    order = np.argsort(expected)
    joined = np.searchsorted(np.cumsum(expected[order]), _FEWEST_EXPECTED) + 1
    if expected[order[0]] >= _FEWEST_EXPECTED:
        return before, now
    rare, kept = order[:joined], np.sort(order[joined:])
    return np.append(before[kept], before[rare].sum()), np.append(now[kept], now[rare].sum())


def _chi_square(before: Array, now: Array) -> float:
    share = (before + now) / (before.sum() + now.sum())
    difference = now / now.sum() - before / before.sum()
    return float(np.sum(difference**2 / share) / (1 / now.sum() + 1 / before.sum()))


def _stability_index(before: Array, now: Array) -> float:
    # Half a row more in each bin keeps the logarithm finite.
    p, q = before + 0.5, now + 0.5
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum((q - p) * np.log(q / p)))


def _moved(profile: Profile, present: pl.Series) -> str:
    if profile.kind == "categorical" or profile.mean is None:
        return ""
    mean = present.mean()
    return f"mean {profile.mean:.6g} -> {mean:.6g}" if isinstance(mean, float) else ""


def _certain(name: str, kind: AlarmKind, note: str) -> Finding:
    return Finding(
        column=name, kind=kind, test="seen", statistic=1.0, p=0.0, share=1.0, effect=1.0, threshold=1.0, note=note
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number_text(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)
