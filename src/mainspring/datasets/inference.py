"""What type a column of text has: the first of a few types that every one of its values reads as."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import msgspec
import polars as pl

from mainspring.datasets.columns import NUMBERS, conform, data_type

MARKERS = ["NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "<NA>", "#N/A", "?", "-"]
_SAMPLE = 200
_MOSTLY = 0.5
_LONG_DIGITS = r"^\s*[+-]?\d{19,}\s*$"
_ODD_NUMBER = re.compile(r"^\s*[+-]?(0\d+|\d{19,})\s*$|^\s*[A-Za-z]")
_PROMISING = re.compile(r"[+-]?[\d.]|[+-]?inf|true|false|[A-Za-z]+ \d", re.IGNORECASE)
_LEADING_ZERO = r"^\s*[+-]?0\d+\s*$"
_DATES = {
    r"^\d{4}-\d{1,2}-\d{1,2}$": ("%Y-%m-%d",),
    r"^\d{4}/\d{1,2}/\d{1,2}$": ("%Y/%m/%d",),
    r"^\d{1,2}\.\d{1,2}\.\d{4}$": ("%d.%m.%Y",),
    r"^\d{1,2}/\d{1,2}/\d{4}$": ("%m/%d/%Y", "%d/%m/%Y"),
    r"^\d{1,2}-\d{1,2}-\d{4}$": ("%m-%d-%Y", "%d-%m-%Y"),
    r"^\d{1,2}-[A-Za-z]{3}-\d{4}$": ("%d-%b-%Y",),
    r"^\d{1,2} [A-Za-z]+ \d{4}$": ("%d %b %Y", "%d %B %Y"),
    r"^[A-Za-z]+ \d{1,2}, ?\d{4}$": ("%b %d, %Y", "%B %d, %Y"),
}
_CLOCKS = {
    r"\d{1,2}:\d{2}": ("%H:%M",),
    r"\d{1,2}:\d{2}:\d{2}": ("%H:%M:%S",),
    r"\d{1,2}:\d{2}:\d{2}[.,]\d{1,9}": ("%H:%M:%S%.f",),
    r"\d{1,2}:\d{2} ?[APap][Mm]": ("%I:%M %p", "%I:%M%p"),
    r"\d{1,2}:\d{2}:\d{2} ?[APap][Mm]": ("%I:%M:%S %p", "%I:%M:%S%p"),
}
_TIMED = re.compile(r"(.*?)([T ])(\d{1,2}:.*)", re.S)
_ZONE = re.compile(r" ?(Z|UTC|[+-]\d{2}:?\d{2}|[+-]\d{2})$")


class Inferred(msgspec.Struct, frozen=True):
    """A typed column, the missing-value markers that stood in it, and what is worth a warning."""

    series: pl.Series
    markers: list[str]
    warnings: list[str]


class Rules(msgspec.Struct, frozen=True):
    """How text is read: the words that mean *missing*, the order of day and month, and whether 1,5 is a number."""

    markers: list[str]
    day_first: bool | None
    decimal_comma: bool
    chosen: bool


def infer(
    columns: Sequence[pl.Series], rules: Rules, expected: Mapping[str, str]
) -> tuple[list[pl.Series], list[str], list[str]]:
    """Type the columns; gives them, the markers of missing values that were found, and the warnings.

    *expected* says of some columns which type to try first (that of the previous version). A word such as ``NA`` is
    missing in a column that is otherwise numbers, dates or booleans; where one of these uses it, it is missing in the
    text columns of the file too, so that a level called ``NA`` is lost only in a file that says NA for missing.
    """
    found = [infer_column(series, rules, expected.get(series.name)) for series in columns]
    used = sorted({marker for column in found for marker in column.markers})
    missing = rules.markers if rules.chosen else used
    done = [_missing(column.series, missing) for column in found]
    return done, used, [warning for column in found for warning in column.warnings]


def _missing(series: pl.Series, markers: Sequence[str]) -> pl.Series:
    if series.dtype != pl.String or not markers:
        return series
    return series.set(series.str.strip_chars().is_in(list(markers)), None)


def infer_column(series: pl.Series, rules: Rules, expected: str | None = None) -> Inferred:
    """Type one column of text, trying *expected* before anything else."""
    if expected in (None, *NUMBERS) and (plain := _plain_numbers(series)) is not None:
        typed = plain if expected is None else conform(plain, expected)
        if typed is not None:
            return Inferred(typed, [], [])
    looked = [value.strip() for value in series.head(_SAMPLE).drop_nulls().to_list()]
    # An empty field is missing, whatever the column is.
    series = series.set(series.str.strip_chars() == "", None)
    if expected == "string":
        return Inferred(series, [], [])
    if series.null_count() == len(series):
        return _without_values(series, expected)
    if any(looked) and not any(_PROMISING.match(value) or value in rules.markers for value in looked):
        return Inferred(series, [], [])
    marked = series.str.strip_chars()
    is_marker = marked.is_in(rules.markers)
    values = marked.set(is_marker, None) if is_marker.any() else marked
    markers = sorted(marked.filter(is_marker).unique().drop_nulls().to_list())
    if values.null_count() == len(values):
        return Inferred(values, markers, [f"column {series.name!r} has no value at all: kept as text"])
    if expected is not None and (known := _as_expected(values, rules, expected)) is not None:
        return Inferred(known, markers, [])
    return _first_that_fits(series, values, markers, rules)


def _plain_numbers(series: pl.Series) -> pl.Series | None:
    """Read a column of nothing but numbers with two casts: ten thousand columns are read one by one."""
    missing = series.null_count()
    if missing == len(series):
        return None
    for dtype in (pl.Int64, pl.Float64):
        typed = series.cast(dtype, strict=False)
        if typed.null_count() == missing:
            sample = series.head(_SAMPLE).to_list()
            odd = any(value is not None and _ODD_NUMBER.match(value) for value in sample)
            if len(series) > _SAMPLE and not odd:
                odd = bool(series.str.contains(_ODD_NUMBER.pattern).any())
            return None if odd else typed
    return None


def _without_values(series: pl.Series, expected: str | None) -> Inferred:
    if expected is not None:
        return Inferred(pl.Series(series.name, [None] * len(series), dtype=data_type(expected)), [], [])
    return Inferred(series, [], [f"column {series.name!r} has no value at all: kept as text"])


def _as_expected(values: pl.Series, rules: Rules, expected: str) -> pl.Series | None:
    missing = values.null_count()
    for reader in (_numbers if expected in NUMBERS else _booleans, _dates, _instants):
        typed = reader(values, rules, [])
        if typed is not None and typed.null_count() == missing:
            return conform(typed, expected)
    return None


def _first_that_fits(series: pl.Series, values: pl.Series, markers: list[str], rules: Rules) -> Inferred:
    missing = values.null_count()
    warnings: list[str] = []
    for kind, reader in _READERS.items():
        said: list[str] = []
        typed = reader(values, rules, said)
        if typed is None:
            continue
        unread = typed.null_count() - missing
        if unread == 0:
            return Inferred(typed, markers, said)
        if 1 - unread / (len(values) - missing) >= _MOSTLY:
            row = int((typed.is_null() & values.is_not_null()).arg_max() or 0)
            warnings.append(
                f"column {series.name!r} mixes types: {kind}, but {unread} of {len(values) - missing} values "
                f"are not, first in row {row + 1}: {str(series[row])[:80]!r}; kept as text"
            )
            break
    return Inferred(series, [], warnings)


def _booleans(values: pl.Series, rules: Rules, said: list[str]) -> pl.Series | None:
    first = values.drop_nulls().head(1).str.to_lowercase()
    if first.is_empty() or first[0] not in ("true", "false"):
        return None
    lower = values.str.to_lowercase()
    return (lower == "true").set(~lower.is_in(["true", "false"]), None)


def _numbers(values: pl.Series, rules: Rules, said: list[str]) -> pl.Series | None:
    sample = values.drop_nulls().head(_SAMPLE)
    if rules.decimal_comma and sample.str.contains(r"^[+-]?\d+,\d+$").any():
        values = values.str.replace(",", ".", literal=True)
        sample = values.drop_nulls().head(_SAMPLE)
    if not sample.str.contains(r"^[+-]?(\d|\.\d|inf)").any():
        return None
    # A number that starts with 0 is a code (a postcode, a telephone number): as a number it would lose its zeros.
    if sample.str.contains(_LEADING_ZERO).any() or values.str.contains(_LEADING_ZERO).any():
        return None
    whole = values.cast(pl.Int64, strict=False)
    if whole.null_count() == values.null_count():
        return whole
    # Identifiers of more digits than 64 bits hold would lose their end as floats.
    if values.filter(whole.is_null()).str.contains(_LONG_DIGITS).any():
        return None
    return values.cast(pl.Float64, strict=False)


def _dates(values: pl.Series, rules: Rules, said: list[str]) -> pl.Series | None:
    sample = _few(values)
    for pattern, formats in _DATES.items():
        if any(re.search(pattern, value) for value in sample):
            return _best(values, _ordered(formats, rules), said, lambda v, f: v.str.to_date(f, strict=False), rules)
    return None


def _instants(values: pl.Series, rules: Rules, said: list[str]) -> pl.Series | None:
    first = next((value for value in _few(values) if _TIMED.fullmatch(value)), None)
    if first is None:
        return None
    zone = _ZONE.search(first)
    timed = _TIMED.fullmatch(first[: zone.start()] if zone else first)
    day, separator, clock = timed.groups() if timed else ("", "", "")
    days = next((formats for pattern, formats in _DATES.items() if re.search(pattern, day)), ())
    clocks = next((formats for pattern, formats in _CLOCKS.items() if re.fullmatch(pattern, clock)), ())
    if not days or not clocks:
        return None
    times = ["%H:%M:%S%.f", "%H:%M"] if "%p" not in clocks[0] else list(clocks)
    formats = [f"{d}{separator}{t}" for d in _ordered(days, rules) for t in times]
    text = values.str.replace(r"(\d),(\d+)", "$1.$2") if "," in clock else values
    if zone:
        text = text.str.replace(r" ?(Z|UTC)$", "+0000").str.replace(r" ?([+-]\d{2}):?(\d{2})?$", "${1}${2}")
        text = text.str.replace(r"([+-]\d{2})$", "${1}00")
        return _best(text, [f + "%z" for f in formats], said, _zoned, rules)
    return _best(text, formats, said, _unzoned, rules)


def _few(values: pl.Series) -> list[str]:
    """Give a few values to recognise a form by: not only the first, which may be the odd one."""
    return values.drop_nulls().head(5).to_list()


def _zoned(values: pl.Series, form: str) -> pl.Series:
    return values.str.to_datetime(form, time_unit="us", strict=False).dt.convert_time_zone("UTC")


def _unzoned(values: pl.Series, form: str) -> pl.Series:
    return values.str.to_datetime(form, time_unit="us", strict=False).dt.replace_time_zone("UTC")


def _ordered(formats: Sequence[str], rules: Rules) -> list[str]:
    ambiguous = [form for form in formats if form[:2] in ("%m", "%d") and form[3:5] in ("%m", "%d") and "." not in form]
    if len(ambiguous) < 2 or rules.day_first is None:
        return list(formats)
    return [form for form in formats if (form[:2] == "%d") == rules.day_first]


def _best(
    values: pl.Series,
    formats: Sequence[str],
    said: list[str],
    read: Callable[[pl.Series, str], pl.Series],
    rules: Rules,
) -> pl.Series | None:
    """Read with every format: the first one that reads all values, else what most values read as."""
    missing = values.null_count()
    full: list[tuple[str, pl.Series]] = []
    partial: list[pl.Series] = []
    for form in formats:
        typed = read(values, form)
        if typed.null_count() == missing:
            full.append((form, typed))
        elif typed.null_count() < len(typed):
            partial.append(typed)
    if full:
        swapped = any(form[:2] != full[0][0][:2] and not other.equals(full[0][1]) for form, other in full[1:])
        if swapped:
            said.append(
                f"column {values.name!r}: month and day could be either way round; read as month first; "
                "if that is wrong, say --day-first (in Python ReadOptions(day_first=True))"
            )
        return full[0][1]
    if not partial:
        return None
    best = min(partial, key=lambda series: series.null_count())
    for other in partial:
        if other is not best:
            best = best.zip_with(best.is_not_null(), other) if not _swaps(formats) else best
    return best


def _swaps(formats: Sequence[str]) -> bool:
    """Tell whether the formats differ in the order of day and month, so that one column must not mix them."""
    return len({form[:2] for form in formats}) > 1


_READERS: dict[str, Callable[[pl.Series, Rules, list[str]], pl.Series | None]] = {
    "booleans": _booleans,
    "numbers": _numbers,
    "dates": _dates,
    "instants": _instants,
}
