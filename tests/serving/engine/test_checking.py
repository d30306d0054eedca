"""What a request sends is checked against the signature, and a refusal says what came and what was expected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mainspring.core.errors import InvalidRequest
from mainspring.registry.signature import Field, Signature
from mainspring.serving.engine.checking import Layout, Tensor, instant_us
from tests.serving.models import COLUMNS

GOOD = {"age": [31.5], "visits": [3], "city": ["Bern"], "since": ["2024-01-01T00:00:00Z"], "member": [True]}
MATRIX = Layout(Signature([Field("X", "float", nullable=False, shape=[-1, 3])], []))


def test_a_good_row_passes_and_times_become_milliseconds() -> None:
    rows = Layout(COLUMNS).columns(GOOD)
    assert rows.rows == 1
    assert rows.values == [[31.5], [3], ["Bern"], [1704067200000], [True]]


def test_null_passes_where_the_column_may_be_null() -> None:
    rows = Layout(COLUMNS).columns(GOOD | {"age": [None], "city": [None], "since": [None], "member": [None]})
    assert rows.values == [[None], [3], [None], [None], [None]]


def test_whole_numbers_may_come_as_floats_without_a_fraction() -> None:
    assert Layout(COLUMNS).columns(GOOD | {"visits": [3.0]}).values[1] == [3]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"age": ["old"]}, ["'age'", "row 0", "the text 'old'", "finite number"]),
        ({"age": [True]}, ["'age'", "came true"]),
        ({"age": [float("inf")]}, ["'age'", "inf", "finite"]),
        ({"age": [[1.0]]}, ["'age'", "a list of 1"]),
        ({"visits": [None]}, ["'visits'", "came null", "not null"]),
        ({"visits": [1.5]}, ["'visits'", "1.5", "whole number"]),
        ({"visits": [2**63]}, ["'visits'", "whole number"]),
        ({"city": [3]}, ["'city'", "the number 3", "a text or null"]),
        ({"since": ["yesterday"]}, ["'since'", "'yesterday'", "ISO 8601"]),
        ({"member": [1]}, ["'member'", "the number 1", "true or false"]),
        ({"age": [1.0, 2.0]}, ["different numbers of rows", "'age' 2"]),
    ],
)
def test_a_refusal_names_the_column_what_came_and_what_was_expected(change: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Layout(COLUMNS).columns(GOOD | change)
    for word in words:
        assert word in str(refused.value)


def test_columns_that_the_model_does_not_take_are_ignored() -> None:
    assert Layout(COLUMNS).columns({"shoe": [1], **GOOD}) == Layout(COLUMNS).columns(GOOD)
    age, shoe = Tensor("age", "FP64", [1], [1.0]), Tensor("shoe", "INT64", [2], [1, 2])
    only_age = Layout(Signature([field for field in COLUMNS.inputs if field.name == "age"], []))
    assert only_age.tensors([shoe, age]) == only_age.tensors([age])


def test_a_misspelt_column_is_found_as_a_missing_one() -> None:
    misspelt = {("agee" if name == "age" else name): values for name, values in GOOD.items()}
    with pytest.raises(InvalidRequest, match=r"missing 'age' \(double\); unknown 'agee'; expected age"):
        Layout(COLUMNS).columns(misspelt)


def test_missing_columns_are_named_with_their_types() -> None:
    with pytest.raises(InvalidRequest, match=r"missing 'age' \(double\), 'city' \(string\)"):
        Layout(COLUMNS).columns({name: GOOD[name] for name in ("visits", "since", "member")})


def test_the_row_of_a_bad_value_is_named() -> None:
    columns = {name: values * 3 for name, values in GOOD.items()}
    with pytest.raises(InvalidRequest, match="column 'age', row 2"):
        Layout(COLUMNS).columns(columns | {"age": [1.0, 2.0, "x"]})


def test_a_request_without_rows_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="no rows"):
        Layout(COLUMNS).columns({name: [] for name in GOOD})


def test_a_number_too_large_for_a_32_bit_input_is_refused() -> None:
    layout = Layout(COLUMNS, narrow=frozenset({"age"}))
    assert Layout(COLUMNS).columns(GOOD | {"age": [1e39]}).rows == 1
    with pytest.raises(InvalidRequest, match="'age'"):
        layout.columns(GOOD | {"age": [1e39]})


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (Tensor("X", "FP32", [1, 2], [1.0, 2.0]), ["shape [1, 2]", "[-1, 3]"]),
        (Tensor("X", "FP32", [2, 3], [1.0, 2.0, 3.0]), ["3 values", "needs 6"]),
        (Tensor("X", "FP32", [-1, 3], [1.0, 2.0, 3.0]), ["shape [-1, 3]"]),
        (Tensor("X", "FP99", [1, 3], [1.0, 2.0, 3.0]), ["'FP99'", "FP32", "BYTES"]),
        (Tensor("X", "BYTES", [1, 3], ["a", "b", "c"]), ["BYTES", "FP32"]),
        (Tensor("X", "UINT8", [1, 3], [1, 2, 300]), ["300", "UINT8", "0 to 255"]),
        (Tensor("X", "FP32", [1, 3], [1.0, 2.0, None]), ["row 2", "null"]),
        (Tensor("Y", "FP32", [1, 3], [1.0, 2.0, 3.0]), ["missing 'X'", "unknown 'Y'"]),
        (Tensor("X", "FP64", [1, 3], np.array([1.0, np.nan, 3.0])), ["'X'", "nan"]),
        (Tensor("X", "FP64", [1, 3], np.array([1.0, 1e300, 3.0])), ["'X'", "1e+300"]),
    ],
)
def test_a_tensor_that_does_not_fit_is_refused(tensor: Tensor, words: list[str]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        MATRIX.tensors([tensor])
    for word in words:
        assert word in str(refused.value)


def test_nested_and_flat_data_mean_the_same() -> None:
    nested = MATRIX.tensors([Tensor("X", "FP32", [2, 3], [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])])
    flat = MATRIX.tensors([Tensor("X", "FP32", [2, 3], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])])
    assert nested == flat
    assert nested.values == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def test_columns_come_as_tensors_of_rank_one_or_two() -> None:
    layout = Layout(Signature([Field("a", "double"), Field("n", "long")], []))
    one = layout.tensors([Tensor("n", "INT32", [2], [1, 2]), Tensor("a", "FP32", [2, 1], [[0.5], [1.5]])])
    assert one.values == [[0.5, 1.5], [1, 2]]
    with pytest.raises(InvalidRequest, match="came as FP32; expected INT64"):
        layout.tensors([Tensor("n", "FP32", [1], [1.0]), Tensor("a", "FP32", [1], [1.0])])


def test_an_input_that_comes_twice_is_refused() -> None:
    layout = Layout(Signature([Field("a", "double")], []))
    with pytest.raises(InvalidRequest, match="twice"):
        layout.tensors([Tensor("a", "FP32", [1], [1.0]), Tensor("a", "FP32", [1], [1.0])])


def test_rows_without_names_are_taken_in_the_order_of_the_signature() -> None:
    layout = Layout(Signature([Field("a", "double"), Field("n", "long")], []))
    assert layout.matrix_rows([[0.5, 1], [1.5, 2]]).values == [[0.5, 1.5], [1, 2]]
    with pytest.raises(InvalidRequest, match="row 1 is a list of 1; expected a list of 2 values: a, n"):
        layout.matrix_rows([[0.5, 1], [1.5]])


def test_a_data_frame_of_the_right_width_feeds_a_matrix() -> None:
    assert MATRIX.columns({"p": [1.0, 4.0], "q": [2, 5], "r": [3.0, 6.0]}).values == [1.0, 2, 3.0, 4.0, 5, 6.0]
    with pytest.raises(InvalidRequest, match=r"shape \[1, 2\]"):
        MATRIX.columns({"p": [1.0], "q": [2.0]})


def test_event_times_are_read_in_both_forms() -> None:
    assert instant_us("1970-01-01T00:00:01+00:00") == instant_us(1000) == 1_000_000
    with pytest.raises(InvalidRequest, match="event_time is 'soon'"):
        instant_us("soon")


def test_plain_columns_feed_graphs_that_take_one_column_each_as_a_matrix() -> None:
    layout = Layout(Signature([Field("a", "float", shape=[-1, 1]), Field("s", "string", shape=[-1, 1])], []))
    assert layout.columns({"a": [1, None], "s": ["x", None]}).values == [[[1], [None]], [["x"], [None]]]
    with pytest.raises(InvalidRequest, match="input 's' came as INT64; expected BYTES"):
        layout.columns({"a": [1.0], "s": [3]})


def test_the_short_check_is_for_matrices_only() -> None:
    assert MATRIX.floats("X", [1, 3], [1.0, 2.0, 3.0]) is not None
    assert MATRIX.floats("X", [2, 3], [1.0, 2.0, 3.0]) is None
    assert MATRIX.floats("Y", [1, 3], [1.0, 2.0, 3.0]) is None
    assert Layout(Signature([Field("a", "double")], [])).floats("a", [1, 1], [1.0]) is None


def test_columns_of_different_lengths_never_feed_a_matrix() -> None:
    with pytest.raises(InvalidRequest, match="different numbers of rows"):
        MATRIX.columns({"p": [1.0], "q": [2.0, 3.0], "r": [4.0]})


def test_data_nested_too_deep_are_refused() -> None:
    data: Any = [1.0]
    for _ in range(500):
        data = [data]
    with pytest.raises(InvalidRequest, match="more than 32 lists deep"):
        MATRIX.tensors([Tensor("X", "FP32", [1, 3], data)])
