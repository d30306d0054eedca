"""What the rows of a version mean: which columns are their key, and which is their time."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import polars as pl

from mainspring.core.errors import InvalidData, InvalidRequest
from mainspring.datasets.columns import type_name
from mainspring.datasets.model import ImportReport
from mainspring.datasets.profile import Profile


def check_meaning(frame: pl.DataFrame, key: Sequence[str], time_column: str | None, warnings: Sequence[str]) -> None:
    """Raise InvalidData for a key or a time that is no column, or a time that holds neither dates nor numbers.

    *warnings* are those of reading the file: they know which value kept a column from being dates.
    """
    wanted = [*key, *([time_column] if time_column else [])]
    if absent := [name for name in wanted if name not in frame.columns]:
        raise InvalidData(
            f"there is no column {', '.join(absent)} for the key or the time; the columns are "
            f"{', '.join(frame.columns[:20])}{', ...' if frame.width > 20 else ''}",
            columns=absent,
        )
    if twice := sorted({name for name in key if key.count(name) > 1}):
        raise InvalidRequest(f"the key names {', '.join(twice)} twice: name each of its columns once", columns=twice)
    if time_column is not None:
        _check_time(frame.get_column(time_column), warnings)


def _check_time(column: pl.Series, warnings: Sequence[str]) -> None:
    if column.dtype.is_temporal() or column.dtype.is_numeric():
        return
    mixed = [warning for warning in warnings if f"{column.name!r} mixes" in warning]
    found = column.drop_nulls().head(1).to_list()
    shown = "; ".join(mixed) or (f"its first value is {str(found[0])[:80]!r}" if found else "it has no value at all")
    raise InvalidData(
        f"the time column {column.name!r} has the type {type_name(column.dtype)} ({shown}): expected dates, instants "
        "such as 2026-01-31T12:00:00Z, or numbers; repair the column, or name another one",
        column=column.name,
    )


def with_warnings(report: ImportReport, known: Profile) -> ImportReport:
    """Add what is odd about the key and the time column, though it does not stand in the way."""
    said = []
    repeated = known.rows - (known.key_distinct if known.key_distinct is not None else known.rows)
    if repeated:
        said.append(f"the key {', '.join(known.key)} is not unique: {repeated} of {known.rows} rows repeat one")
    for column in known.columns:
        if column.nulls and column.name in known.key:
            said.append(f"the key column {column.name} has no value in {column.nulls} of {known.rows} rows")
        if column.nulls and column.name == known.time_column:
            said.append(f"the time column {column.name} has no value in {column.nulls} of {known.rows} rows")
    return msgspec.structs.replace(report, warnings=[*report.warnings, *said]) if said else report
