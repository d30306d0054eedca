"""How a table is put in the order of time and split."""

from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from mainspring.core.errors import InvalidData, InvalidRequest
from mainspring.datasets.model import ReadOptions
from mainspring.loop.table import load_split, split

HOURS = [datetime(2024, 1, 1) + timedelta(hours=hour) for hour in range(200)]


def frame(rows: int = 200) -> pl.DataFrame:
    return pl.DataFrame({"n": range(rows), "who": ["a", "b"] * (rows // 2), "y": [0, 1] * (rows // 2)})


def test_later_rows_are_those_after_the_earlier_ones_in_time():
    shuffled = frame().with_columns(pl.Series("at", HOURS)).sample(fraction=1.0, shuffle=True, seed=1)
    made = split(shuffled, "y", time="at")
    assert made.earlier["n"].to_list() == list(range(80))
    assert made.later["n"].to_list() == list(range(80, 200))
    assert made.instants is not None
    assert made.instants[1] - made.instants[0] == 3_600_000_000


def test_without_a_time_the_order_of_the_rows_is_kept():
    reversed_rows = frame().reverse()
    made = split(reversed_rows, "y", time=None)
    assert made.earlier["n"][0] == 199
    assert made.instants is None
    assert made.dated is None


def test_numbers_that_grow_order_the_rows_but_tell_no_instant():
    made = split(frame().reverse(), "y", time="n")
    assert made.earlier["n"][0] == 0
    assert made.instants is None
    assert made.dated is None


def test_dates_tell_instants():
    days = frame().with_columns(pl.Series("day", [date(2024, 1, 1) + timedelta(days=n // 2) for n in range(200)]))
    made = split(days, "y", time="day")
    assert made.dated == "day"
    assert made.instants is not None
    assert made.instants[2] - made.instants[0] == 86_400_000_000


def test_windows_cover_every_later_row_once():
    for rows in (100, 999, 12_345):
        made = split(frame(rows // 2 * 2), "y", time=None)
        assert made.windows[0].start == 0
        assert made.windows[-1].stop == made.later.height
        assert all(a.stop == b.start for a, b in zip(made.windows, made.windows[1:], strict=False))
        assert min(window.stop - window.start for window in made.windows) >= 25


def test_a_label_is_known_with_the_first_row_after_its_delay():
    dated = frame().with_columns(pl.Series("at", HOURS))
    assert split(dated, "y", time="at", label_delay="3h").known_after[0] == 3
    assert split(dated, "y", time="at", label_delay="150m").known_after[0] == 3
    assert split(dated, "y", time="at").known_after[:3] == [0, 1, 2]


def test_a_label_delay_needs_dates():
    with pytest.raises(InvalidRequest, match="--label-delay is a duration, so it needs --time"):
        split(frame(), "y", time=None, label_delay="2h")
    with pytest.raises(InvalidRequest, match="--label-delay"):
        split(frame(), "y", time="n", label_delay="2h")


def test_rows_without_a_time_are_left_out_and_it_is_said():
    holes = frame().with_columns(pl.Series("at", [None, None, *HOURS[2:]]))
    made = split(holes, "y", time="at")
    assert made.earlier.height + made.later.height == 198
    assert made.notes == ["2 rows have no at and were left out"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"target": "z", "time": None}, "--target 'z' is no column of the table; it has n, who, y"),
        ({"target": "y", "time": "z"}, "--time 'z' is no column"),
        ({"target": "y", "time": None, "key": "z"}, "--key 'z' is no column"),
        ({"target": "y", "time": "y"}, "cannot be the target and the time"),
    ],
)
def test_a_column_that_is_not_there_is_refused_by_its_role(arguments, told):
    with pytest.raises(InvalidRequest, match=told):
        split(frame(), **arguments)


def test_text_is_no_time_and_few_rows_are_no_table():
    with pytest.raises(InvalidData, match="time column 'who' holds text"):
        split(frame(), "y", time="who")
    with pytest.raises(InvalidData, match="60 rows; the loop needs at least 100"):
        split(frame(60), "y", time=None)


def test_a_target_that_does_not_vary_is_refused_before_anything_starts():
    sorted_by_class = frame().sort("y")
    with pytest.raises(InvalidData, match=r"only 0 in the first 80 rows.* name a --time column"):
        split(sorted_by_class, "y", time=None)
    with pytest.raises(InvalidData, match="at least two different values"):
        split(frame().with_columns(y=pl.lit(1)), "y", time=None)
    with pytest.raises(InvalidData, match="no value in the first 80 rows"):
        split(frame().with_columns(y=pl.lit(None)), "y", time=None)


def test_large_tables_are_sent_in_requests_of_several_rows():
    assert split(frame(1_000), "y", time=None).rows_per_request == 1
    assert split(frame(200_000), "y", time=None).rows_per_request == 3


def test_a_file_is_read_with_its_warnings(tmp_path: Path):
    lines = ["city,y", *(f"{'Orléans' if row % 2 else 'Nîmes'},{row % 2}" for row in range(200))]
    (tmp_path / "old.csv").write_bytes("\n".join(lines).encode("cp1252"))
    made = load_split(tmp_path / "old.csv", "y", time=None, key=None, label_delay=None)
    assert made.earlier["city"][0] == "Nîmes"
    assert "not UTF-8" in made.notes[0]


def test_a_time_that_does_not_parse_is_refused_with_the_value_that_does_not(tmp_path: Path):
    (tmp_path / "late.csv").write_text(
        "at,y\n" + "".join(f"{'soon' if n == 7 else f'2024-01-{n % 28 + 1:02}'},{n % 2}\n" for n in range(120))
    )
    with pytest.raises(InvalidData, match=r"'at'.*row 8: 'soon'.*--time"):
        load_split(tmp_path / "late.csv", "y", time="at", key=None, label_delay=None)


def test_broken_rows_are_refused_or_left_out_and_noted(tmp_path: Path):
    broken = tmp_path / "broken.csv"
    broken.write_text("n,y\n1,2,3\n" + "".join(f"{n},{n % 2}\n" for n in range(120)))
    with pytest.raises(InvalidData, match="--skip-bad-rows"):
        load_split(broken, "y", time=None, key=None, label_delay=None)
    options = ReadOptions(on_bad_rows="skip")
    made = load_split(broken, "y", time=None, key=None, label_delay=None, options=options)
    assert made.earlier.height + made.later.height == 120
    assert any("left out 1 broken rows, at lines [2]" in note for note in made.notes)
