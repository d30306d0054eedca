"""Holding a table against its expectations: one pass counts the rows that break each, a second names the first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import polars as pl

from mainspring.core.refs import ref
from mainspring.datasets.columns import type_name
from mainspring.datasets.distribution import difference
from mainspring.datasets.expectations import (
    Between,
    ColumnType,
    Expectation,
    Fresh,
    NotNull,
    OneOf,
    RowCount,
    SameDistribution,
    UniqueKey,
    columns_named,
)
from mainspring.datasets.profile import as_number, plain

_SHOWN = 10
_AT_ONCE = 500
Reference = Callable[[SameDistribution], pl.Series | None]


class Offender(msgspec.Struct, frozen=True):
    """A row that breaks an expectation: its number (from 1, in the order of the version), its key, its values."""

    row: int
    key: list[Any]
    values: list[Any]


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """One expectation, held against a table: what was seen, what was expected, how many rows break it, the first."""

    expectation: Expectation
    passed: bool
    observed: str
    expected: str
    count: int = 0
    rows: list[Offender] = []

    @property
    def refuses(self) -> bool:
        """Tell whether this result keeps the version out."""
        return not self.passed and self.expectation.blocks

    def __str__(self) -> str:
        named = ", ".join(columns_named(self.expectation)) or "table"
        where = f"; first in rows {', '.join(str(o.row) for o in self.rows[:3])}" if self.rows else ""
        return f"{named}: {self.observed}, expected {self.expected}{where}"


class QualityReport(msgspec.Struct, frozen=True, kw_only=True):
    """All checks of a version. It passed when no expectation that blocks is broken."""

    id: str
    dataset: str
    version: int
    created: datetime
    rows: int
    passed: bool
    checks: list[CheckResult]

    @property
    def ref(self) -> str:
        """Give ``report:<id>``."""
        return self.id

    @property
    def subject(self) -> str:
        """Give the ref of the version that was checked."""
        return ref("dataset", self.dataset, self.version)

    @property
    def failed(self) -> list[CheckResult]:
        """List the checks that keep the version out."""
        return [check for check in self.checks if check.refuses]


class _Table(msgspec.Struct, frozen=True):
    """What is checked. The schema is kept: a frame makes it anew at each call, slowly for thousands of columns."""

    frame: pl.DataFrame
    schema: pl.Schema
    key: list[str]
    now: datetime
    reference: Reference


def evaluate(
    frame: pl.DataFrame,
    expectations: Sequence[Expectation],
    *,
    key: Sequence[str],
    now: datetime,
    reference: Reference,
) -> list[CheckResult]:
    """Hold a canonical frame against expectations; *reference* gives the column of an older version to compare with."""
    table = _Table(frame, frame.schema, list(key), now, reference)
    counted = _counts(table, expectations)
    return [_result(table, e, counted.get(i, 0)) for i, e in enumerate(expectations)]


def _counts(table: _Table, expectations: Sequence[Expectation]) -> dict[int, int]:
    masks = {i: mask for i, e in enumerate(expectations) if (mask := _broken(table.schema, e)) is not None}
    found: dict[int, int] = {}
    numbers = list(masks)
    for start in range(0, len(numbers), _AT_ONCE):
        sums = [masks[i].sum().alias(str(i)) for i in numbers[start : start + _AT_ONCE]]
        plan = table.frame.lazy().select(sums)
        row = plan.collect(optimizations=pl.QueryOptFlags(comm_subexpr_elim=False)).row(0, named=True)
        found |= {int(i): int(count or 0) for i, count in row.items()}
    return found


def _broken(schema: pl.Schema, expectation: Expectation) -> pl.Expr | None:
    """Give the expression that is true for the rows that break an expectation; None where rows have no part in it."""
    if any(name not in schema for name in columns_named(expectation)):
        return None
    match expectation:
        case NotNull(column=name):
            return pl.col(name).is_null()
        case Between(column=name, low=low, high=high):
            return _outside(name, schema[name], low, high)
        case OneOf(column=name, levels=levels):
            return _unknown(name, schema[name], levels)
        case UniqueKey(columns=columns):
            missing = pl.any_horizontal(pl.col(columns).is_null())
            one = pl.col(columns[0]) if len(columns) == 1 else pl.struct(columns)
            return missing | one.is_duplicated()
    return None


def _outside(name: str, dtype: pl.DataType, low: float | None, high: float | None) -> pl.Expr | None:
    if as_number(name, dtype) is None:
        return None
    # Infinite values are outside of every bound, also of the open side.
    number = pl.col(name) if dtype.is_float() else as_number(name, dtype)
    assert number is not None
    sides = [number.is_infinite()] if dtype.is_float() else []
    sides += [] if low is None else [number < low]
    sides += [] if high is None else [number > high]
    return pl.any_horizontal(sides).fill_null(False) if sides else pl.lit(False)


def _unknown(name: str, dtype: pl.DataType, levels: Sequence[Any]) -> pl.Expr:
    column = pl.col(name)
    if dtype == pl.String:
        known = column.is_in([str(level) for level in levels])
    elif dtype == pl.Boolean:
        known = column.is_in([level for level in levels if isinstance(level, bool)])
    elif dtype.is_numeric():
        known = column.cast(pl.Float64).is_in([float(level) for level in levels if not isinstance(level, str)])
    else:
        known = column.cast(pl.String).is_in([str(level) for level in levels])
    return column.is_not_null() & known.not_()


def _result(table: _Table, expectation: Expectation, count: int) -> CheckResult:
    absent = [name for name in columns_named(expectation) if name not in table.schema]
    if absent:
        expected = "a column of this name" if len(absent) == 1 else "columns of these names"
        return CheckResult(
            expectation=expectation, passed=False, observed=f"no column {', '.join(absent)}", expected=expected
        )
    match expectation:
        case ColumnType(column=name, type=wanted):
            actual = type_name(table.schema[name])
            return CheckResult(expectation=expectation, passed=actual == wanted, observed=actual, expected=wanted)
        case RowCount(low=low, high=high):
            passed = (low is None or table.frame.height >= low) and (high is None or table.frame.height <= high)
            observed, expected = f"{table.frame.height} rows", f"{_bounds(low, high)} rows"
            return CheckResult(expectation=expectation, passed=passed, observed=observed, expected=expected)
        case Fresh():
            return _freshness(table, expectation)
        case SameDistribution():
            return _distribution(table.frame, expectation, table.reference(expectation))
    return _of_rows(table, expectation, count)


def _bounds(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"at least {low:g}" if low is not None else f"at most {high:g}" if high is not None else "any"
    return f"{low:g} to {high:g}"


def _of_rows(table: _Table, expectation: Expectation, count: int) -> CheckResult:
    mask = _broken(table.schema, expectation)
    if mask is None:
        name = columns_named(expectation)[0]
        kind = type_name(table.schema[name])
        return CheckResult(expectation=expectation, passed=False, observed=f"{kind} values", expected="numbers")
    base, observed, expected, allowed = _words(table.frame, expectation, count)
    passed = count <= allowed * base
    rows = [] if passed or not count else _offenders(table.frame, mask, columns_named(expectation), table.key)
    return CheckResult(
        expectation=expectation, passed=passed, observed=observed, expected=expected, count=count, rows=rows
    )


def _words(frame: pl.DataFrame, expectation: Expectation, count: int) -> tuple[int, str, str, float]:
    """Give how many rows count, what was observed, what was expected, and the share that may break it."""
    names = columns_named(expectation)
    if isinstance(expectation, UniqueKey):
        return frame.height, f"{count} rows with a repeated or missing key", "each key once", 0.0
    if isinstance(expectation, NotNull):
        share = expectation.max_share
        return frame.height, f"{count} of {frame.height} missing", f"at most {share:.2%} missing", share
    values = frame.height - frame.get_column(names[0]).null_count()
    if isinstance(expectation, Between):
        expected = f"{_bounds(expectation.low, expectation.high)}"
        observed = f"{count} of {values} values outside"
    else:
        levels = expectation.levels if isinstance(expectation, OneOf) else []
        expected = f"one of {', '.join(map(str, levels[:10]))}{', ...' if len(levels) > 10 else ''}"
        observed = f"{count} of {values} values unknown"
    share = getattr(expectation, "max_share", 0.0)
    return values, observed, expected + (f" but for {share:.2%}" if share else ""), share


def _offenders(frame: pl.DataFrame, mask: pl.Expr, names: Sequence[str], key: Sequence[str]) -> list[Offender]:
    numbered = frame.lazy().with_row_index("__number__", offset=1).filter(mask).head(_SHOWN)
    wanted = list(dict.fromkeys([*key, *names]))
    found: list[dict[str, Any]] = numbered.select("__number__", *wanted).collect().to_dicts()
    return [
        Offender(int(row["__number__"]), [plain(row[name]) for name in key], [plain(row[name]) for name in names])
        for row in found
    ]


def _freshness(table: _Table, expectation: Fresh) -> CheckResult:
    expected = f"at most {expectation.max_age_s:g} s old"
    number = as_number(expectation.column, table.schema[expectation.column])
    newest = None if number is None else table.frame.select(number.max()).item()
    if newest is None:
        return CheckResult(expectation=expectation, passed=False, observed="no instant", expected=expected)
    age = table.now.timestamp() - float(newest)
    observed = f"latest is {age:.0f} s old"
    return CheckResult(
        expectation=expectation, passed=age <= expectation.max_age_s, observed=observed, expected=expected
    )


def _distribution(frame: pl.DataFrame, expectation: SameDistribution, reference: pl.Series | None) -> CheckResult:
    expected = (
        f"a difference of at most {expectation.max_effect:g}, or one that chance explains (p >= {expectation.alpha:g})"
    )
    current = frame.get_column(expectation.column)
    if reference is None or reference.dtype != current.dtype:
        observed = "no reference of this type to compare with"
        return CheckResult(expectation=expectation, passed=reference is None, observed=observed, expected=expected)
    found = difference(reference, current)
    if found is None:
        return CheckResult(expectation=expectation, passed=False, observed="no values to compare", expected=expected)
    passed = found.effect <= expectation.max_effect or found.p_value >= expectation.alpha
    observed = f"{found.measure} {found.effect:.4f}, p = {found.p_value:.2g}"
    return CheckResult(expectation=expectation, passed=passed, observed=observed, expected=expected)


def describe_failures(checks: Sequence[CheckResult]) -> Mapping[str, object]:
    """Give the facts of failed checks for an error: which, with numbers and the first rows."""
    return {
        "failed": [
            {
                "check": msgspec.to_builtins(check.expectation),
                "observed": check.observed,
                "expected": check.expected,
                "count": check.count,
                "rows": msgspec.to_builtins(check.rows),
            }
            for check in checks
        ]
    }
