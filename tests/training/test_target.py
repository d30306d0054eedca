import polars as pl
import pytest

from mainspring.core.errors import InvalidData
from mainspring.training.target import drop_unknown, read_target


def read(values, task=None):
    return read_target(pl.DataFrame({"y": values}), "y", task)


def test_text_booleans_and_few_whole_numbers_are_classes():
    assert read(["b", "a"] * 50).classes == ["a", "b"]
    assert read([True, False] * 50).classes == [0, 1]
    assert read([1.0, 0.0] * 50).classes == [0, 1]
    assert read([3, 1, 2] * 50).task == "multiclass"


def test_other_numbers_are_a_quantity():
    assert read([n / 7 for n in range(100)]).task == "regression"
    assert read(list(range(100))).task == "regression"
    assert read([1, 2, 3] * 50, "regression").classes is None


@pytest.mark.parametrize(
    ("values", "task", "said"),
    [
        ([None] * 100, None, "no value in any row"),
        (["a"] * 100, None, "'a' in every row"),
        (["a", "b"] * 5, None, "at least 40"),
        (["a"] * 99 + ["b"], None, "fewer than two classes of at least 5 rows"),
        ([f"c{n}" for n in range(200)], None, "200 different values"),
        ([[1]] * 50 + [[2]] * 50, None, "expected numbers, text or booleans"),
        ([1e40, 2e40, 3.5] * 40, None, "rescale"),
        (["a", "b"] * 50, "regression", "needs numbers"),
        (["a", "b", "c"] * 50, "binary", "3 classes"),
    ],
)
def test_a_target_that_cannot_be_learned_is_refused_with_the_reason(values, task, said):
    with pytest.raises(InvalidData, match=said):
        read(values, task)


def test_a_value_that_is_not_known_is_left_out():
    kept, lost = drop_unknown(pl.DataFrame({"y": [1.0, None, float("nan"), float("inf"), 2.0]}), "y")
    assert (kept["y"].to_list(), lost) == ([1.0, 2.0], 3)


def test_codes_follow_the_order_of_the_classes():
    target = read([True, False] * 50)
    assert list(target.encode(pl.Series([False, True]))) == [0, 1]


@pytest.mark.parametrize("name", ["rows", "class", "count"])
def test_a_target_may_have_any_name(name):
    assert read_target(pl.DataFrame({name: ["a", "b"] * 50}), name).classes == ["a", "b"]


@pytest.mark.parametrize("values", [["True", "1"], ["false", "FALSE"]])
def test_classes_that_labels_do_not_tell_apart_are_refused_by_name(values):
    with pytest.raises(InvalidData, match=r"'y' has the classes .* spell them differently") as refused:
        read_target(pl.DataFrame({"y": values * 50}), "y")
    assert all(repr(value) in str(refused.value) for value in values)


def test_the_type_of_a_target_is_refused_before_its_values_are_looked_at():
    with pytest.raises(InvalidData, match=r"'y' has the type List") as refused:
        read_target(pl.DataFrame({"y": [[1, 2]] * 100}), "y")
    assert "\n" not in str(refused.value)
