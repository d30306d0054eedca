"""What changed between two versions: rows by key, columns by their types and values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import polars as pl

from mainspring.core.errors import InvalidData
from mainspring.datasets.columns import columns_of
from mainspring.datasets.distribution import difference
from mainspring.datasets.profile import as_number, plain
from mainspring.datasets.schema_change import SchemaChange, compare

_SHOWN = 10


class ColumnChange(msgspec.Struct, frozen=True, kw_only=True):
    """A column that both versions have: changed rows (by key), missing values, means, and how far the two lie apart.

    ``effect`` is the size of `distribution.difference`, None when the types differ or there is nothing to compare.
    """

    name: str
    changed: int | None
    nulls_before: int
    nulls_after: int
    mean_before: float | None
    mean_after: float | None
    effect: float | None


class VersionDiff(msgspec.Struct, frozen=True, kw_only=True):
    """What changed from one version of a dataset to another.

    With a key, a row of the same key and other values is *changed*. Without one, rows are compared whole, and a changed
    row counts as one removed and one added. Of each kind the keys (or rows) of the first ten are shown.
    """

    dataset: str
    before: int
    after: int
    key: list[str]
    rows_before: int
    rows_after: int
    added: int
    removed: int
    changed: int
    schema: SchemaChange
    columns: list[ColumnChange]
    first_added: list[list[Any]]
    first_removed: list[list[Any]]
    first_changed: list[list[Any]]


class _Rows(msgspec.Struct, frozen=True):
    added: pl.DataFrame
    removed: pl.DataFrame
    changed: pl.DataFrame
    changed_by_column: dict[str, int] | None
    added_count: int
    removed_count: int


def diff(name: str, before: int, after: int, old: pl.DataFrame, new: pl.DataFrame, key: Sequence[str]) -> VersionDiff:
    """Compare two frames; raises InvalidData when the key is not unique in one of them."""
    old_types, new_types = ({c.name: c.type for c in columns_of(frame)} for frame in (old, new))
    usable = [column for column in key if column in old_types and column in new_types]
    rows = _by_key(old, new, usable, name) if usable and len(usable) == len(key) else _whole(old, new)
    both = [column for column in old.columns if column in new_types]
    return VersionDiff(
        dataset=name,
        before=before,
        after=after,
        key=usable if rows.changed_by_column is not None else [],
        rows_before=old.height,
        rows_after=new.height,
        added=rows.added_count,
        removed=rows.removed_count,
        changed=rows.changed.height,
        schema=compare(old_types, new_types),
        columns=[_column(old.get_column(c), new.get_column(c), rows.changed_by_column) for c in both],
        first_added=_first(rows.added),
        first_removed=_first(rows.removed),
        first_changed=_first(rows.changed),
    )


def _first(frame: pl.DataFrame) -> list[list[Any]]:
    return [[plain(value) for value in row] for row in frame.head(_SHOWN).iter_rows()]


def _by_key(old: pl.DataFrame, new: pl.DataFrame, key: list[str], name: str) -> _Rows:
    for frame, which in ((old, "older"), (new, "newer")):
        if frame.select(pl.struct(key).is_duplicated().any()).item():
            raise InvalidData(
                f"the key {', '.join(key)} is not unique in the {which} version of dataset {name}: "
                "give another key, or an empty one to compare whole rows",
                key=key,
            )
    shared = [c for c in old.columns if c in new.columns and c not in key]
    paired = old.join(new, on=key, how="inner", nulls_equal=True, suffix="\0new", maintain_order="left")
    differs = {c: _differs(c, old.schema[c], new.schema[c]) for c in shared}
    changed = paired.filter(pl.any_horizontal(differs.values())) if differs else paired.clear()
    counts = paired.select([e.sum().alias(c) for c, e in differs.items()]).row(0) if differs else ()
    added = new.join(old, on=key, how="anti", nulls_equal=True).select(key)
    removed = old.join(new, on=key, how="anti", nulls_equal=True).select(key)
    by_column = dict(zip(differs, map(int, counts), strict=True))
    return _Rows(added, removed, changed.select(key), by_column, added.height, removed.height)


def _differs(column: str, before: pl.DataType, after: pl.DataType) -> pl.Expr:
    new = pl.col(f"{column}\0new")
    if before == after:
        return pl.col(column).ne_missing(new)
    if before.is_numeric() and after.is_numeric():
        return pl.col(column).cast(pl.Float64).ne_missing(new.cast(pl.Float64))
    return pl.col(column).cast(pl.String).ne_missing(new.cast(pl.String))


def _whole(old: pl.DataFrame, new: pl.DataFrame) -> _Rows:
    columns = [c for c in old.columns if c in new.columns and old.schema[c] == new.schema[c]]
    if not columns:
        return _Rows(new, old, new.clear(), None, new.height, old.height)
    counts = pl.concat(
        [
            frame.select(columns).with_columns(pl.lit(sign, pl.Int64).alias("\0sign"))
            for frame, sign in ((old, -1), (new, 1))
        ]
    )
    net = counts.group_by(columns, maintain_order=True).agg(pl.col("\0sign").sum())
    added, removed = net.filter(pl.col("\0sign") > 0), net.filter(pl.col("\0sign") < 0)
    return _Rows(
        added.select(columns),
        removed.select(columns),
        new.clear(),
        None,
        int(added.get_column("\0sign").sum()),
        -int(removed.get_column("\0sign").sum()),
    )


def _column(old: pl.Series, new: pl.Series, changed: dict[str, int] | None) -> ColumnChange:
    comparable = old.dtype == new.dtype and not old.dtype.is_nested() and old.dtype != pl.Binary
    found = difference(old, new) if comparable else None
    return ColumnChange(
        name=old.name,
        changed=None if changed is None else changed.get(old.name, 0),
        nulls_before=old.null_count(),
        nulls_after=new.null_count(),
        mean_before=_mean(old),
        mean_after=_mean(new),
        effect=None if found is None else found.effect,
    )


def _mean(series: pl.Series) -> float | None:
    number = as_number(series.name, series.dtype)
    value = None if number is None else series.to_frame().select(number.mean()).item()
    return None if value is None else float(value)
