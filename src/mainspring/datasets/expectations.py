"""What the rows of a dataset are expected to be; every expectation is a value that is stored with the version."""

from __future__ import annotations

import msgspec

Level = str | int | float | bool


class _Expectation(msgspec.Struct, frozen=True, kw_only=True, tag_field="check", forbid_unknown_fields=True):
    """Fields of every expectation. One that does not block is reported and refuses nothing."""

    blocks: bool = True


class ColumnType(_Expectation, frozen=True, tag="column_type"):
    """The column exists, with this type."""

    column: str
    type: str


class NotNull(_Expectation, frozen=True, tag="not_null"):
    """At most the share *max_share* (0 to 1) of the rows has no value in the column."""

    column: str
    max_share: float = 0.0


class Between(_Expectation, frozen=True, tag="between"):
    """All but the share *max_share* of the values lie in [low, high]; None leaves a side open."""

    column: str
    low: float | None = None
    high: float | None = None
    max_share: float = 0.0


class OneOf(_Expectation, frozen=True, tag="one_of"):
    """All but the share *max_share* of the values are among the levels."""

    column: str
    levels: list[Level]
    max_share: float = 0.0


class UniqueKey(_Expectation, frozen=True, tag="unique_key"):
    """No two rows agree in all of the columns, and none of these is missing."""

    columns: list[str]


class Fresh(_Expectation, frozen=True, tag="fresh"):
    """The latest instant of the column is at most *max_age_s* seconds before the time of the check."""

    column: str
    max_age_s: float


class RowCount(_Expectation, frozen=True, tag="row_count"):
    """The table has from *low* to *high* rows; None leaves a side open."""

    low: int | None = None
    high: int | None = None


class SameDistribution(_Expectation, frozen=True, tag="same_distribution"):
    """The column is distributed as in the reference version (None: the version before).

    Broken only when both hold: the difference is larger than *max_effect* (numbers and instants: largest distance of
    the two distribution functions; other types: total variation distance; 0 to 1), and chance alone would show such a
    difference with a probability below *alpha*.
    """

    column: str
    reference: int | None = None
    max_effect: float = 0.1
    alpha: float = 0.001


Expectation = ColumnType | NotNull | Between | OneOf | UniqueKey | Fresh | RowCount | SameDistribution


def columns_named(expectation: Expectation) -> list[str]:
    """List the columns that an expectation speaks of."""
    if isinstance(expectation, UniqueKey):
        return expectation.columns
    return [] if isinstance(expectation, RowCount) else [expectation.column]
