"""Reading files: everything odd is handled, or refused by its place and with a remedy."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.core.errors import InvalidData, InvalidRequest
from mainspring.datasets.model import ReadOptions
from mainspring.datasets.reading import read_bytes, read_file, read_frame

SKIP = ReadOptions(on_bad_rows="skip")


def frame_of(text: str | bytes, **options: object) -> pl.DataFrame:
    data = text.encode() if isinstance(text, str) else text
    return read_bytes(data, options=ReadOptions(**options)).frame


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(delimiter: str) -> None:
    rows = [["a", "b", "c"], ["1", "x y", "2.5"], ["2", "q, w; e", "3.5"]]
    text = "\n".join(delimiter.join(f'"{v}"' if "," in v else v for v in row) for row in rows)
    read = read_bytes(text.encode())
    assert read.report.delimiter == delimiter
    assert read.frame.to_dicts() == [{"a": 1, "b": "x y", "c": 2.5}, {"a": 2, "b": "q, w; e", "c": 3.5}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_files_are_read_whatever_their_form(encoding: str) -> None:
    frame = frame_of("città,n\nNapolì,1\nŁódź,2\n".encode(encoding))
    assert frame.to_dict(as_series=False) == {"città": ["Napolì", "Łódź"], "n": [1, 2]}


def test_a_latin_1_file_is_read_with_a_warning_that_names_the_byte() -> None:
    read = read_bytes("name,n\nJosé,1\nMünch,2\n".encode("latin-1"))
    assert read.frame["name"].to_list() == ["José", "Münch"]
    assert "byte 10 (0xe9, line 2)" in read.report.warnings[0] and "encoding" in read.report.warnings[0]


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        ("a,b\né,1\n".encode() * 50 + b"\xff,2\n", 450),
        (b"a,b\n" + bytes(range(128, 160)) * 20 + b",1\n", 4),
        (("a,b\n" + "東京,1\n" * 20).encode("shift_jis"), 4),
        (("a,b\n" + "Привет,1\n" * 20).encode("cp1251"), 4),
    ],
)
def test_bytes_of_no_known_encoding_are_refused_with_their_offset(data: bytes, offset: int) -> None:
    with pytest.raises(InvalidData, match=f"byte {offset} .*option encoding") as refused:
        read_bytes(data)
    assert refused.value.facts["offset"] == offset


def test_a_named_encoding_is_used_and_a_wrong_one_refused() -> None:
    assert frame_of("a,b\n東京,1\n".encode("shift_jis"), encoding="shift_jis")["a"].to_list() == ["東京"]
    with pytest.raises(InvalidData, match="byte 4"):
        frame_of("a,b\n東京,1\n".encode("shift_jis"), encoding="ascii")
    with pytest.raises(InvalidRequest, match="unknown encoding"):
        frame_of(b"a\n1\n", encoding="klingon")


def test_ragged_rows_are_refused_with_their_lines_and_can_be_skipped() -> None:
    text = b"a,b\n1,2\n3\n4,5\n\n6,7,8\n9,10\n"
    with pytest.raises(InvalidData, match=r"2 of 5 rows .* line 3") as refused:
        read_bytes(text)
    assert refused.value.facts["lines"] == [3, 6]
    read = read_bytes(text, options=SKIP)
    assert read.frame.rows() == [(1, 2), (4, 5), (9, 10)]
    assert (read.report.bad_rows, read.report.bad_lines) == (2, [3, 6])


def test_a_quote_that_never_closes_costs_only_its_row() -> None:
    read = read_bytes(b'a,b\n1,x\n2,"open\n3,"y ""z"""\n4,w\n', options=SKIP)
    assert read.frame.rows() == [(1, "x"), (3, 'y "z"'), (4, "w")]
    assert read.report.bad_lines == [3]


def test_line_numbers_count_newlines_inside_of_quotes() -> None:
    with pytest.raises(InvalidData) as refused:
        read_bytes(b'a,b\n1,"x\ny\nz"\n2\n')
    assert refused.value.facts["lines"] == [5]


def test_quotes_in_the_middle_of_a_field_are_text() -> None:
    assert frame_of('a,b\n5" pipe,1\nx,2\n')["a"].to_list() == ['5" pipe', "x"]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_every_kind_of_newline_ends_a_row(newline: str) -> None:
    assert frame_of(newline.join(["a,b", "1,x", "2,y"])).rows() == [(1, "x"), (2, "y")]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"\n\r\n\n", "blank lines"),
        (b"a,b\n", "header and no rows"),
        (b"a,b,a\n1,2,3\n", "'a' .*columns 1 and 3"),
        (b"a, a \n1,2\n", "two columns are called 'a'"),
        (b"Key,key\n1,2\n", "upper and lower case"),
        (b"*,b\n1,2\n", "several columns"),
        (b"a,b\n1,\x002\n", "zero"),
        (b"PAR1 nonsense", "not sound parquet"),
        (b"ARROW1 nonsense", "not sound arrow"),
        (b"\x1f\x8bxxxx", "compressed"),
    ],
)
def test_files_without_a_table_in_them_are_refused_by_what_is_wrong(data: bytes, said: str) -> None:
    with pytest.raises(InvalidData, match=said):
        read_bytes(data)


def test_a_column_without_a_name_gets_one() -> None:
    read = read_bytes(b",x\n0,a\n1,b\n")
    assert read.frame.columns == ["column_1", "x"]
    assert "column_1" in read.report.warnings[0]


def test_types_are_found_by_all_values() -> None:
    text = (
        "i,f,b,d,t,z,s,empty\n"
        "1,1.5,true,2024-02-29,2024-02-29 12:30,2024-02-29T12:30:00+02:00,x,\n"
        "-2,1e3,FALSE,2024-03-01,2024-03-01 00:00:01.5,2024-03-01T00:00:00Z,7,\n"
        ",,,,,,,\n"
    )
    frame = frame_of(text)
    assert frame["i"].to_list() == [1, -2, None]
    assert frame["f"].to_list() == [1.5, 1000.0, None]
    assert frame["b"].to_list() == [True, False, None]
    assert frame["d"].to_list() == [date(2024, 2, 29), date(2024, 3, 1), None]
    assert frame["t"].to_list()[:2] == [
        datetime(2024, 2, 29, 12, 30, tzinfo=UTC),
        datetime(2024, 3, 1, 0, 0, 1, 500_000, tzinfo=UTC),
    ]
    assert frame["z"].to_list()[0] == datetime(2024, 2, 29, 10, 30, tzinfo=UTC)
    assert frame["s"].to_list() == ["x", "7", None]
    assert (frame.schema["empty"], frame["empty"].null_count()) == (pl.String, 3)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("31.12.2024", date(2024, 12, 31)),
        ("12/31/2024", date(2024, 12, 31)),
        ("31/12/2024", date(2024, 12, 31)),
        ("2024/12/31", date(2024, 12, 31)),
        ("31-Dec-2024", date(2024, 12, 31)),
        ("December 31, 2024", date(2024, 12, 31)),
        ("12/31/2024 11:45 PM", datetime(2024, 12, 31, 23, 45, tzinfo=UTC)),
        ("31.12.2024 23:45:10", datetime(2024, 12, 31, 23, 45, 10, tzinfo=UTC)),
    ],
)
def test_common_forms_of_dates_are_read(written: str, expected: object) -> None:
    assert frame_of(f'd;x\n"{written}";1\n').row(0)[0] == expected


def test_a_date_that_can_be_read_two_ways_is_warned_of_and_can_be_decided() -> None:
    read = read_bytes(b"d,x\n01/02/2024,1\n03/04/2024,2\n")
    assert read.frame["d"][0] == date(2024, 1, 2) and "day_first" in read.report.warnings[0]
    assert frame_of(b"d,x\n01/02/2024,1\n", day_first=True)["d"][0] == date(2024, 2, 1)


def test_codes_stay_text() -> None:
    frame = frame_of("zip,id\n01234,12345678901234567890123\n90210,2\n")
    assert frame["zip"].to_list() == ["01234", "90210"]
    assert frame["id"].to_list() == ["12345678901234567890123", "2"]


def test_a_column_of_mixed_types_stays_text_and_names_the_first_odd_row() -> None:
    values = [str(i) for i in range(50)]
    values[30] = "broken"
    read = read_bytes("\n".join(["n", *values]).encode())
    assert read.frame["n"].to_list() == values
    assert "row 31" in read.report.warnings[0] and "'broken'" in read.report.warnings[0]


def test_na_is_missing_in_numbers_and_a_country_where_it_is_not() -> None:
    assert frame_of("n,c\n1,NA\nNA,DE\n").to_dict(as_series=False) == {"n": [1, None], "c": [None, "DE"]}
    assert frame_of("n,c\n1,NA\n2,DE\n")["c"].to_list() == ["NA", "DE"]
    assert frame_of("n,c\n1,gone\n2,DE\n", null_values=["gone"])["c"].to_list() == [None, "DE"]


def test_decimal_commas_are_read_where_semicolons_delimit() -> None:
    assert frame_of("a;b\n1,5;2\n-0,25;3\n")["a"].to_list() == [1.5, -0.25]


def test_the_type_of_the_version_before_is_tried_first() -> None:
    text = b"code,n,t\n1,2,\n3,4,\n"
    types = {"code": "string", "n": "float64", "t": "datetime"}
    assert dict(read_bytes(text, expected=types).frame.schema) == {
        "code": pl.String,
        "n": pl.Float64,
        "t": pl.Datetime("us", "UTC"),
    }
    assert read_bytes(text, options=ReadOptions(types={"n": "string"})).frame["n"].to_list() == ["2", "4"]


def test_ten_thousand_columns_are_read() -> None:
    text = "\n".join(",".join(f"{p}{i}" for i in range(10_000)) for p in ("c", "1", "2"))
    frame = frame_of(text)
    assert frame.shape == (2, 10_000) and frame["c7"].to_list() == [17, 27]


def test_very_long_fields_and_many_categories_are_read() -> None:
    long = "x" * 3_000_000 + "\n" + "y" * 10
    text = f'a,b\n"{long}",level0\n' + "".join(f"s,level{i}\n" for i in range(5000))
    frame = frame_of(text)
    assert frame["a"][0] == long and frame["b"].n_unique() == 5000


def test_a_file_without_a_header_is_read_when_told() -> None:
    assert frame_of(b"1,x\n2,y\n", header=False).to_dict(as_series=False) == {
        "column_1": [1, 2],
        "column_2": ["x", "y"],
    }


field = st.one_of(st.none(), st.text(st.characters(exclude_characters="\0\r", codec="utf-8"), max_size=8))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(field, field, st.integers(0, 9)), min_size=1, max_size=12))
def test_what_polars_writes_as_csv_is_read_back(rows: list[tuple]) -> None:
    frame = pl.DataFrame(rows, schema={"a": pl.String, "b": pl.String, "n": pl.Int64}, orient="row")
    data = frame.write_csv(quote_style="non_numeric").encode()
    read = read_bytes(data, "csv", ReadOptions(delimiter=",", types={"a": "string", "b": "string"})).frame
    # An empty field, or one of blanks, is a missing one.
    blank = frame.with_columns(pl.when(pl.col(c).str.strip_chars() != "").then(pl.col(c)).alias(c) for c in ("a", "b"))
    assert read.rows() == blank.rows()


def test_parquet_and_arrow_files_are_recognised_and_made_canonical(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            " u ": pl.Series([1, 2], dtype=pl.UInt32),
            "f": [1.0, float("nan")],
            "c": pl.Series(["x", "y"], dtype=pl.Categorical),
            "t": pl.Series([datetime(2024, 1, 1), None], dtype=pl.Datetime("ns")),
            "n": [None, None],
        }
    )
    files = [io.BytesIO() for _ in range(3)]
    frame.write_parquet(files[0])
    frame.write_ipc(files[1])
    frame.write_ipc_stream(files[2])
    path = tmp_path / "data"
    for file, format in zip(files, ["parquet", "arrow", "arrow"], strict=True):
        path.write_bytes(file.getvalue())
        read = read_file(path)
        assert read.report.format == format
        assert dict(read.frame.schema) == {
            "u": pl.Int64,
            "f": pl.Float64,
            "c": pl.String,
            "t": pl.Datetime("us", "UTC"),
            "n": pl.String,
        }
        assert read.frame["f"].to_list() == [1.0, None]


def test_frames_of_pandas_and_pyarrow_are_taken() -> None:
    data = {"a": [1, 2], "b": ["x", "y"]}
    for frame in (pd.DataFrame(data), pa.table(data), pl.DataFrame(data).lazy()):
        assert read_frame(frame).frame.to_dict(as_series=False) == data
    with pytest.raises(InvalidRequest, match="dict is not a table"):
        read_frame(data)


def test_values_that_no_column_type_holds_are_refused_by_name() -> None:
    with pytest.raises(InvalidData, match=r"'big'.*row 2"):
        read_frame(pl.DataFrame({"big": pl.Series([1, 2**64 - 1], dtype=pl.UInt64)}))
    with pytest.raises(InvalidData, match="'o'"):
        read_frame(pl.DataFrame({"o": pl.Series([object()], dtype=pl.Object)}))


def test_a_million_clean_rows_take_the_fast_path_and_are_whole() -> None:
    n = 200_000
    frame = pl.DataFrame({"i": np.arange(n), "s": [f"a,{i % 7}" for i in range(n)]})
    assert frame_of(frame.write_csv().encode()).equals(frame)


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="cannot read"):
        read_file(tmp_path / "nothing.csv")


@pytest.mark.parametrize("data", [b'{"a":1}\n{"a":2}\n', b'[{"a":1}]', b"<!DOCTYPE html><html></html>", b"<?xml ?>\n"])
def test_files_that_are_no_table_are_refused_by_their_form(data: bytes) -> None:
    with pytest.raises(InvalidData, match="not a table: save its rows as CSV or Parquet"):
        read_bytes(data)
    assert read_bytes(b"[a],<b>\n1,2\n").frame.columns == ["[a]", "<b>"]


def test_a_type_that_was_asked_for_is_given_or_refused_with_the_value_in_its_way() -> None:
    text = "a,b\n1,x\n2,3\n"
    assert frame_of(text, types={"a": "float64"}).schema["a"] == pl.Float64
    assert frame_of(text, types={"a": "string"})["a"].to_list() == ["1", "2"]
    with pytest.raises(InvalidData, match="'b' does not read as int64: row 1 has 'x'"):
        frame_of(text, types={"b": "int64"})
    with pytest.raises(InvalidRequest, match="'c', which the file does not have; it has a, b"):
        frame_of(text, types={"c": "int64"})
    with pytest.raises(InvalidRequest, match="unknown column type 'number'"):
        frame_of(text, types={"a": "number"})


@pytest.mark.parametrize(
    "series",
    [
        pl.Series("t", [0, 2**58], dtype=pl.Datetime("us")),
        pl.Series("t", [0, 2**62], dtype=pl.Datetime("ms", "Europe/Berlin")),
        pl.Series("t", [0, 4_000_000], dtype=pl.Int32).cast(pl.Date),
    ],
    ids=lambda series: str(series.dtype),
)
def test_a_date_that_no_calendar_has_is_refused_with_its_row(series: pl.Series) -> None:
    with pytest.raises(InvalidData, match="'t' has a date outside of the years 1 to 9999, first in row 2"):
        read_frame(series.to_frame())


def test_the_first_and_the_last_day_are_dates() -> None:
    days = pl.Series("t", [date(1, 1, 1), date(9999, 12, 31), None])
    read = read_frame(pl.DataFrame([days, days.cast(pl.Datetime("ms")).alias("u")])).frame
    assert read["t"].to_list() == [date(1, 1, 1), date(9999, 12, 31), None]
    assert read["u"].dt.date().equals(days.alias("u"))


@pytest.mark.parametrize(
    "series",
    [
        pl.Series("n", [[None]], dtype=pl.List(pl.Null)),
        pl.Series("n", [{"a": None}], dtype=pl.Struct({"a": pl.Null})),
        pl.Series("n", [{}], dtype=pl.Struct([])),
        pl.Series("n", [[1]], dtype=pl.List(pl.Duration("us"))),
    ],
    ids=lambda series: str(series.dtype),
)
def test_nested_types_that_no_table_can_hold_are_refused_by_name(series: pl.Series) -> None:
    with pytest.raises(InvalidData, match=r"'n' has the type .*leave it out"):
        read_frame(series.to_frame())


@pytest.mark.parametrize("value", [[1], [[1], []], {"a": [1]}, [{"a": "b"}], [datetime(2024, 1, 1)]], ids=str)
def test_lists_and_structs_of_what_a_table_can_hold_are_kept(value: object) -> None:
    frame = pl.DataFrame({"n": [value]})
    assert read_frame(frame).frame.equals(frame)


def test_half_precision_becomes_single() -> None:
    halves = pl.Series("h", [1.5, float("nan")], dtype=pl.Float32).cast(getattr(pl, "Float16", pl.Float32))
    assert read_frame(halves.to_frame()).frame["h"].to_list() == [1.5, None]


def test_a_table_without_columns_is_refused() -> None:
    with pytest.raises(InvalidData, match="no columns"):
        read_frame(pl.DataFrame())
