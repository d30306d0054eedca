"""Filters are read as written, and what cannot be read is refused with the place where it went wrong."""

from __future__ import annotations

import pytest

from mainspring.core.errors import InvalidRequest
from mainspring.core.filters import (
    AllOf,
    AnyOf,
    Comparison,
    Field,
    Filter,
    Not,
    Order,
    comparisons,
    parse_filter,
    parse_order,
)

ENTITIES = {"tag": "tag", "tags": "tag"}
NAME, TEAM = Field("attribute", "name"), Field("tag", "team")


def read(text: str) -> Filter:
    return parse_filter(text, ENTITIES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", AllOf()),
        ("name = 'a'", Comparison(NAME, "=", ["a"])),
        ('name="a"', Comparison(NAME, "=", ["a"])),
        ("tags.team LIKE 'a%'", Comparison(TEAM, "like", ["a%"])),
        ("TAG.`team` ilike 'a'", Comparison(TEAM, "ilike", ["a"])),
        ("tags.\"a b\" != 'it''s'", Comparison(Field("tag", "a b"), "!=", ["it's"])),
        ("tags.a.b = 'x'", Comparison(Field("tag", "a.b"), "=", ["x"])),
        ("name in ('a', 'b')", Comparison(NAME, "in", ["a", "b"])),
        ("name between 1 and 2", AllOf([Comparison(NAME, ">=", [1.0]), Comparison(NAME, "<=", [2.0])])),
        ("name IS NULL", Comparison(NAME, "null")),
        ("name is not null", Not(Comparison(NAME, "null"))),
        ("name NOT LIKE 'a'", AllOf([Not(Comparison(NAME, "null")), Not(Comparison(NAME, "like", ["a"]))])),
    ],
)
def test_a_comparison_is_read_as_it_is_written(text: str, expected: Filter) -> None:
    assert read(text) == expected


def test_and_binds_stronger_than_or_and_parentheses_strongest() -> None:
    a, b, c = (Comparison(NAME, "=", [value]) for value in "abc")
    assert read("name='a' or name='b' and name='c'") == AnyOf([a, AllOf([b, c])])
    assert read("(name='a' or name='b') and not name='c'") == AllOf([AnyOf([a, b]), Not(c)])
    assert list(comparisons(read("(name='a' or name='b') and not name='c'"))) == [a, b, c]


@pytest.mark.parametrize(
    "text",
    [
        *("name", "name =", "name = x", "name = `x`", "= 'a'", "name = 'a' name = 'b'", "name in ()", "name in ('a'"),
        *("(name = 'a'", "name = 'a", "name between 1", "name is 1", "param.x = 'a'", "name ~ 'a'", "name = 'a\0'"),
        *("(" * 60 + "name='a'" + ")" * 60, "name = '" + "a" * 200_000 + "'"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        read(text)


def test_an_order_is_a_field_and_a_direction() -> None:
    assert parse_order("name", ENTITIES) == parse_order("name asc", ENTITIES) == Order(NAME)
    assert parse_order("tags.team DESC", ENTITIES) == Order(TEAM, descending=True)
    with pytest.raises(InvalidRequest, match="expected ASC, DESC or the end"):
        parse_order("name down", ENTITIES)
