"""The content hash: of the values in their order, and of nothing else."""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest

from mainspring.datasets.content import content_hash

FRAME = pl.DataFrame(
    {
        "i": [1, None, 3],
        "f": [0.5, None, -1.0],
        "s": ["a", None, ""],
        "b": [True, None, False],
        "x": [b"\x00", None, b""],
        "d": [date(2024, 1, 1), None, date(1960, 1, 1)],
        "t": [datetime(2024, 1, 1, tzinfo=UTC), None, datetime(1960, 1, 1, tzinfo=UTC)],
        "l": [[1, 2], None, []],
    }
)


def test_the_hash_never_changes_between_releases() -> None:
    frame = pl.DataFrame({"i": [1, None], "s": ["a", "bc"]}, schema={"i": pl.Int64, "s": pl.String})
    assert content_hash(frame) == "sha256:faa0d5057a65244897dee05007ee4d45dcf220e8926437499e0aa8e57577f965"


def test_the_layout_has_no_part_in_it() -> None:
    chunked = pl.concat([FRAME[:1], FRAME[1:]], rechunk=False)
    assert content_hash(chunked) == content_hash(FRAME) == content_hash(pl.concat([FRAME, FRAME])[3:])


@pytest.mark.parametrize("name", FRAME.columns)
def test_every_value_and_every_missing_value_counts(name: str) -> None:
    first = pl.col(name).first()
    for changed in (
        FRAME.with_columns(pl.col(name).fill_null(first)),
        FRAME.with_columns(pl.col(name).reverse()),
        FRAME.rename({name: "other"}),
        FRAME[:2],
    ):
        assert content_hash(changed) != content_hash(FRAME)


def test_text_cannot_flow_from_one_row_into_the_next() -> None:
    assert content_hash(pl.DataFrame({"s": ["ab", "c"]})) != content_hash(pl.DataFrame({"s": ["a", "bc"]}))


def test_a_missing_number_is_not_a_zero_and_no_text_not_an_empty_one() -> None:
    assert content_hash(pl.DataFrame({"i": [0, None]})) != content_hash(pl.DataFrame({"i": [0, 0]}))
    assert content_hash(pl.DataFrame({"s": ["", None]})) != content_hash(pl.DataFrame({"s": ["", ""]}))
