"""Whether a new table fits the version before it: what is new, missing or of another type."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import polars as pl

from mainspring.core.errors import InvalidData
from mainspring.datasets.columns import columns_of, conform


class Retyped(msgspec.Struct, frozen=True):
    """A column whose type changed."""

    name: str
    before: str
    after: str


class SchemaChange(msgspec.Struct, frozen=True):
    """What differs between two schemas."""

    added: list[str]
    removed: list[str]
    retyped: list[Retyped]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.retyped)

    def __str__(self) -> str:
        parts = [f"new columns {', '.join(self.added)}"] if self.added else []
        parts += [f"missing columns {', '.join(self.removed)}"] if self.removed else []
        parts += [f"{change.name} is {change.after} instead of {change.before}" for change in self.retyped]
        return "; ".join(parts) or "no difference"


def compare(before: Mapping[str, str], after: Mapping[str, str]) -> SchemaChange:
    """Compare two schemas, each the type of every column by its name."""
    return SchemaChange(
        added=[name for name in after if name not in before],
        removed=[name for name in before if name not in after],
        retyped=[Retyped(n, before[n], after[n]) for n in before if n in after and before[n] != after[n]],
    )


def fit(
    frame: pl.DataFrame, before: Mapping[str, str], name: str, warnings: list[str], *, evolve: bool
) -> pl.DataFrame:
    """Bring a canonical frame to the schema of the version before, in its order, where no value changes by it.

    Raises InvalidData that lists every new, missing and retyped column, unless *evolve*: then columns stay as they are,
    the new ones last.
    """
    fitted = {s.name: (conform(s, before[s.name]) if s.name in before else None) for s in frame.get_columns()}
    done = frame.with_columns([series for series in fitted.values() if series is not None])
    change = compare(before, {column.name: column.type for column in columns_of(done)})
    if change and not evolve:
        reasons = [warning for warning in warnings if any(f"{c.name!r} mixes" in warning for c in change.retyped)]
        said = f" ({'; '.join(reasons)})" if reasons else ""
        raise InvalidData(
            f"the columns differ from those of the latest version of dataset {name}: {change}{said}; repair the "
            "data, or accept the new schema with --evolve (in Python evolve=True)",
            **msgspec.to_builtins(change),
        )
    kept = set(done.columns)
    order = [*(column for column in before if column in kept), *change.added]
    return done.select(order)


def joined(parent: pl.DataFrame, added: pl.DataFrame) -> pl.DataFrame:
    """Give the rows of both, missing columns filled with null, a column of two types as text."""
    schema = dict(added.schema)
    for column, dtype in parent.schema.items():
        if column in schema and schema[column] != dtype:
            both = dtype.is_numeric() and schema[column].is_numeric()
            schema[column] = pl.Float64() if both else pl.String()
    return pl.concat([_retyped(parent, schema), _retyped(added, schema)], how="diagonal")


def _retyped(frame: pl.DataFrame, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    actual = frame.schema
    return frame.with_columns(pl.col(n).cast(t) for n, t in schema.items() if n in actual and actual[n] != t)
