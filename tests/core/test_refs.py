"""Refs: what is one, what is not, and that text and value agree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.core.errors import InvalidRequest
from mainspring.core.refs import Ref, check_alias, check_free_name, check_name

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}", fullmatch=True)


@given(st.sampled_from(["model", "dataset", "feature_view"]), names, st.none() | st.integers(1, 10**9))
def test_text_and_value_of_a_ref_agree(kind: str, name: str, version: int | None) -> None:
    ref = Ref(kind, name, version=version)
    assert Ref.parse(str(ref)) == ref


def test_a_word_after_at_is_an_alias_and_a_number_a_version() -> None:
    assert Ref.parse("model:churn@champion") == Ref("model", "churn", alias="champion")
    assert Ref.parse("model:churn@7") == Ref("model", "churn", version=7)


def test_the_kind_may_be_left_out_where_only_one_is_possible() -> None:
    assert Ref.parse("churn@7", kind="model") == Ref("model", "churn", version=7)
    with pytest.raises(InvalidRequest, match="names a dataset, expected a model"):
        Ref.parse("dataset:churn@7", kind="model")


@pytest.mark.parametrize(
    "text",
    ["", "churn", "model:", "dataset:a b", "model:a/b", "model:x@", "model:x@0", "model:../x", "m!:x", "model:x@²"]
    + [f"model:x@{'9' * digits}" for digits in (19, 5000)],
)
def test_what_is_no_ref_is_refused_with_the_form_expected(text: str) -> None:
    with pytest.raises(InvalidRequest, match="is not a ref"):
        Ref.parse(text)


@pytest.mark.parametrize("name", ["", "-a", "a/b", "a b", "x" * 129, "é"])
def test_a_name_that_would_need_quoting_anywhere_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot be the name of a model"):
        check_name(name, "model")


@pytest.mark.parametrize("name", ["My Model", "Sales, south (v2)", "modèle", "a", "a.b"])
def test_a_model_keeps_the_name_that_it_has_elsewhere(name: str) -> None:
    assert check_free_name(name, "model") == name
    assert Ref.parse(str(Ref("model", name, version=3))) == Ref("model", name, version=3)


@pytest.mark.parametrize("name", ["", " ", " a", "a ", "a/b", "a:b", "a@b", ".", "..", "a\nb", "a\0", "x" * 251])
def test_a_name_that_could_be_part_of_a_ref_or_a_path_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot be the name of a model"):
        check_free_name(name, "model")


def test_an_alias_cannot_look_like_a_version() -> None:
    with pytest.raises(InvalidRequest, match="cannot be an alias"):
        check_alias("7")
