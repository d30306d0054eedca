"""Reading CSV, Parquet and Arrow files into a frame: everything that is odd is handled, or refused by name."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
import polars as pl

from mainspring.core.errors import InvalidData, InvalidRequest
from mainspring.datasets.columns import canonical, check_column_names, data_type, type_name
from mainspring.datasets.csv_rows import BrokenRow, first_row, rows, scan, sniff_delimiter
from mainspring.datasets.decoding import decode
from mainspring.datasets.inference import MARKERS, Rules, infer, infer_column
from mainspring.datasets.model import Format, ImportReport, ReadOptions

_LINES_SHOWN = 20
_ARROW_MAGIC = b"ARROW1"
_PARQUET_MAGIC = b"PAR1"
_JSON = re.compile(rb"(\xef\xbb\xbf)?\s*(\{\s*[\"}]|\[\s*[\[{])")
_MARKUP = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype|html|\?xml)", re.IGNORECASE)
_REASONABLE = 1_000


class Read(msgspec.Struct, frozen=True):
    """A canonical frame, and what was found on the way."""

    frame: pl.DataFrame
    report: ImportReport


def read_file(
    path: str | Path,
    format: Format = "auto",
    options: ReadOptions | None = None,
    expected: Mapping[str, str] | None = None,
) -> Read:
    """Read a file; see `read_bytes`. Raises InvalidRequest when it cannot be opened."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InvalidRequest(f"cannot read {path}: {error.strerror}", path=str(path)) from None
    return read_bytes(data, format, options, expected)


def read_bytes(
    data: bytes, format: Format = "auto", options: ReadOptions | None = None, expected: Mapping[str, str] | None = None
) -> Read:
    """Read the bytes of a file; *expected* are the column types of the version before, tried first for text.

    ``auto`` looks at the first bytes. Raises InvalidData with the place and the remedy for an empty or damaged file,
    for clashing column names and, unless they are to be skipped, for broken rows.
    """
    options = options or ReadOptions()
    if not data:
        raise InvalidData("the file is empty: expected a header and rows")
    form = _sniff(data) if format == "auto" else format
    if form == "csv":
        return _read_csv(data, options, expected or {})
    return _read_binary(data, form)


def read_frame(frame: object) -> Read:
    """Take a DataFrame of polars, pandas, pyarrow or anything else that speaks the Arrow PyCapsule interface.

    Raises InvalidRequest when it does not.
    """
    taken, warnings = canonical(_taken(frame))
    return Read(taken, ImportReport(format="frame", rows=taken.height, warnings=warnings))


def _taken(frame: object) -> pl.DataFrame:
    if isinstance(frame, pl.DataFrame):
        return frame
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if not hasattr(frame, "__arrow_c_stream__"):
        raise InvalidRequest(
            f"{type(frame).__name__} is not a table: expected a DataFrame of polars, pandas >= 2.2 or pyarrow, or "
            "another object with __arrow_c_stream__"
        )
    try:
        return pl.DataFrame(frame)
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        raise InvalidData(f"the table cannot be taken over: {_first_line(error)}") from error
    except ImportError as error:
        raise InvalidRequest(f"this DataFrame needs a package to hand its data over: {error}") from error


def _sniff(data: bytes) -> str:
    if data.startswith(_PARQUET_MAGIC):
        return "parquet"
    if data.startswith((_ARROW_MAGIC, b"\xff\xff\xff\xff")):
        return "arrow"
    if data.startswith((b"\x1f\x8b", b"PK\x03\x04", b"\x28\xb5\x2f\xfd", b"\xd0\xcf\x11\xe0")):
        raise InvalidData("the file is compressed or a spreadsheet: unpack it, or save it as CSV or Parquet")
    for form, pattern in (("JSON", _JSON), ("HTML or XML", _MARKUP)):
        if pattern.match(data):
            raise InvalidData(f"the file is {form}, not a table: save its rows as CSV or Parquet", format=form)
    return "csv"


def _read_binary(data: bytes, form: str) -> Read:
    try:
        if form == "parquet":
            frame = pl.read_parquet(io.BytesIO(data))
        elif data.startswith(_ARROW_MAGIC):
            frame = pl.read_ipc(io.BytesIO(data))
        else:
            frame = pl.read_ipc_stream(io.BytesIO(data))
    except pl.exceptions.DuplicateError as error:
        raise InvalidData(f"two columns have the same name: {_first_line(error)}; rename one of them") from error
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise InvalidData(f"the file is not sound {form}: {_first_line(error)}", format=form) from error
    frame, warnings = canonical(frame)
    return Read(frame, ImportReport(format=form, rows=frame.height, warnings=warnings))


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _read_csv(data: bytes, options: ReadOptions, expected: Mapping[str, str]) -> Read:
    decoded = decode(data, options.encoding)
    text = decoded.data
    delimiter = _delimiter(text, options)
    top = first_row(text, delimiter)
    if not top:
        raise InvalidData("the file has nothing but blank lines: expected a header and rows")
    warnings = [decoded.warning] if decoded.warning else []
    names = _names(top, options, warnings)
    raw, broken = _text_columns(text, delimiter, names, options)
    _refuse_broken(broken, raw.height, options)
    if not raw.height:
        raise InvalidData("the file has a header and no rows: nothing can be known about its columns", columns=names)
    _check_types(options.types, names)
    rules = Rules(
        options.null_values if options.null_values is not None else MARKERS,
        options.day_first,
        delimiter == ";",
        options.null_values is not None,
    )
    typed, markers, said = infer(raw.get_columns(), rules, {**expected, **options.types})
    frame, more = canonical(pl.DataFrame(typed))
    for name, wanted in options.types.items():
        if type_name(frame.schema[name]) != wanted:
            raise _unreadable(raw.get_column(name), wanted, rules)
    report = ImportReport(
        format="csv",
        encoding=decoded.encoding,
        delimiter=delimiter,
        rows=frame.height,
        bad_rows=len(broken),
        bad_lines=[row.line for row in broken[:_LINES_SHOWN]],
        null_markers=markers,
        warnings=[*warnings, *said, *more],
    )
    return Read(frame, report)


def _delimiter(text: bytes, options: ReadOptions) -> str:
    if options.delimiter is None:
        return sniff_delimiter(text)
    if len(options.delimiter) != 1 or not options.delimiter.isascii() or options.delimiter in '"\r\n':
        raise InvalidRequest(
            f"the delimiter {options.delimiter!r} is not one ASCII character other than a quote or newline"
        )
    return options.delimiter


def _names(top: list[str], options: ReadOptions, warnings: list[str]) -> list[str]:
    if not options.header:
        return [f"column_{position}" for position in range(1, len(top) + 1)]
    names = [name.strip() for name in top]
    unnamed = [position for position, name in enumerate(names, 1) if not name]
    if unnamed:
        named = ", ".join(f"column_{position}" for position in unnamed[:_LINES_SHOWN])
        warnings.append(f"{len(unnamed)} columns have no name in the header; they are called {named}")
        names = [name or f"column_{position}" for position, name in enumerate(names, 1)]
    check_column_names(names)
    if all(name.replace(".", "", 1).lstrip("+-").isdigit() for name in names):
        warnings.append(
            "all column names are numbers: if the first row is data already, say --no-header (in Python "
            "ReadOptions(header=False))"
        )
    return names


def _check_types(types: Mapping[str, str], names: list[str]) -> None:
    for name, wanted in types.items():
        data_type(wanted)
        if name not in names:
            shown = f"{', '.join(names[:_LINES_SHOWN])}{', ...' if len(names) > _LINES_SHOWN else ''}"
            raise InvalidRequest(f"the types name a column {name!r}, which the file does not have; it has {shown}")


def _unreadable(column: pl.Series, wanted: str, rules: Rules) -> InvalidData:
    """Give the error that names the first value which does not read as the type that was asked for."""
    for value in column.drop_nulls().unique(maintain_order=True).head(_REASONABLE):
        alone = pl.Series(column.name, [value], dtype=pl.String)
        if type_name(infer_column(alone, rules, wanted).series.dtype) != wanted:
            row = int((column == value).arg_max() or 0) + 1
            return InvalidData(
                f"column {column.name!r} does not read as {wanted}: row {row} has {value[:80]!r}; repair it, or give "
                "another type",
                column=column.name,
                row=row,
            )
    return InvalidData(f"column {column.name!r} does not read as {wanted}; give another type", column=column.name)


def _text_columns(
    text: bytes, delimiter: str, names: list[str], options: ReadOptions
) -> tuple[pl.DataFrame, list[BrokenRow]]:
    layout = scan(text, delimiter, len(names))
    if not layout.regular:
        return _row_by_row(text, delimiter, names, options)
    try:
        frame = pl.read_csv(
            layout.text,
            separator=delimiter,
            has_header=False,
            new_columns=names,
            skip_rows=0,
            infer_schema=False,
            schema=dict.fromkeys(names, pl.String),
        )
    except pl.exceptions.NoDataError:
        return pl.DataFrame(schema=dict.fromkeys(names, pl.String)), layout.broken
    except pl.exceptions.PolarsError:
        # The row reader knows each row by its line, and so can say what is wrong, or forgive it.
        return _row_by_row(text, delimiter, names, options)
    return frame.slice(1) if options.header else frame, layout.broken


def _row_by_row(
    text: bytes, delimiter: str, names: list[str], options: ReadOptions
) -> tuple[pl.DataFrame, list[BrokenRow]]:
    whole, broken = rows(text, delimiter, len(names))
    body = whole[1:] if options.header else whole
    columns = zip(*body, strict=True) if body else ([] for _ in names)
    data = [pl.Series(name, list(values), dtype=pl.String) for name, values in zip(names, columns, strict=True)]
    return pl.DataFrame(data), broken


def _refuse_broken(broken: list[BrokenRow], whole: int, options: ReadOptions) -> None:
    if not broken or options.on_bad_rows == "skip":
        return
    lines = [row.line for row in broken[:_LINES_SHOWN]]
    shown = ", ".join(map(str, lines)) + (", ..." if len(broken) > _LINES_SHOWN else "")
    raise InvalidData(
        f"{len(broken)} of {len(broken) + whole} rows are broken, the first in line {broken[0].line}: "
        f"{broken[0].reason} (lines {shown}); repair them, or leave them out "
        "with --skip-bad-rows (in Python ReadOptions(on_bad_rows='skip'))",
        bad_rows=len(broken),
        lines=lines,
        reason=broken[0].reason,
    )
