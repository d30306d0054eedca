"""What key and time column may be."""

from __future__ import annotations

import polars as pl
import pytest

from mainspring.core.errors import InvalidData, InvalidRequest
from mainspring.datasets.meaning import check_meaning, with_warnings
from mainspring.datasets.model import ImportReport
from mainspring.datasets.profile import profile


@pytest.mark.parametrize("values", [["soon", "2024-01-01"], [True, False], [[1], [2]], [None, None]])
def test_a_time_is_dates_or_numbers(values: list) -> None:
    frame = pl.DataFrame({"t": values}) if any(values) else pl.DataFrame({"t": values}, schema={"t": pl.String})
    with pytest.raises(InvalidData, match=r"time column 't' has the type .*expected dates"):
        check_meaning(frame, [], "t", [])


def test_the_value_that_is_no_date_is_named_when_reading_found_it() -> None:
    said = ["column 't' mixes types: dates, but 1 of 9 values are not, first in row 3: 'soon'; kept as text"]
    with pytest.raises(InvalidData, match="row 3: 'soon'"):
        check_meaning(pl.DataFrame({"t": ["2024-01-01", "soon"]}), [], "t", said)


def test_a_key_names_columns_that_exist_and_each_once() -> None:
    frame = pl.DataFrame({"a": [1], "b": [2]})
    check_meaning(frame, ["a", "b"], "a", [])
    with pytest.raises(InvalidData, match=r"no column c .*; the columns are a, b"):
        check_meaning(frame, ["c"], None, [])
    with pytest.raises(InvalidRequest, match="names a twice"):
        check_meaning(frame, ["a", "a"], None, [])


def test_rows_that_repeat_a_key_or_lack_key_or_time_are_warned_of() -> None:
    frame = pl.DataFrame({"k": [1, 1, None], "t": [None, 2, 3]})
    said = with_warnings(ImportReport(format="frame"), profile(frame, ["k"], "t")).warnings
    assert said == [
        "the key k is not unique: 1 of 3 rows repeat one",
        "the key column k has no value in 1 of 3 rows",
        "the time column t has no value in 1 of 3 rows",
    ]
