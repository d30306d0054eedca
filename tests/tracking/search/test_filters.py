"""The filter language says what it cannot read, and reads what people write."""

from __future__ import annotations

import pytest

from mainspring.core.errors import InvalidRequest
from mainspring.tracking.search.filters import (
    AllOf,
    AnyOf,
    Comparison,
    Field,
    Not,
    Order,
    parse_filter,
    parse_order,
)

AUC = Field("metric", "auc")
TEAM = Field("tag", "team")


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("", AllOf()),
        ("metrics.auc > 0.9", Comparison(AUC, ">", [0.9])),
        ("metric.auc >= -1e-3", Comparison(AUC, ">=", [-0.001])),
        ("tags.team = 'ads'", Comparison(TEAM, "=", ["ads"])),
        ('tags.team != "it\'s"', Comparison(TEAM, "!=", ["it's"])),
        ("tags.team = 'it''s'", Comparison(TEAM, "=", ["it's"])),
        ("params.`my key` LIKE 'a%'", Comparison(Field("param", "my key"), "like", ["a%"])),
        ("parameters.\"x.y/z\" ilike 'A%'", Comparison(Field("param", "x.y/z"), "ilike", ["A%"])),
        ("metrics.val/loss < 1", Comparison(Field("metric", "val/loss"), "<", [1.0])),
        ("status = 'failed'", Comparison(Field("attribute", "status"), "=", ["failed"])),
        ("attributes.start_time > 0", Comparison(Field("attribute", "started"), ">", [0.0])),
        ("run.run_name = 'x'", Comparison(Field("attribute", "name"), "=", ["x"])),
        ("tags.team IN ('a', 'b')", Comparison(TEAM, "in", ["a", "b"])),
        ("tags.team IS NULL", Comparison(TEAM, "null")),
        ("tags.team is not null", Not(Comparison(TEAM, "null"))),
        ("tags.team not like 'a%'", AllOf([Not(Comparison(TEAM, "null")), Not(Comparison(TEAM, "like", ["a%"]))])),
        ("not metrics.auc > 1", Not(Comparison(AUC, ">", [1.0]))),
        (
            "metrics.auc = 1 or metrics.auc = 2 and metrics.auc = 3",
            AnyOf(
                [
                    Comparison(AUC, "=", [1.0]),
                    AllOf([Comparison(AUC, "=", [2.0]), Comparison(AUC, "=", [3.0])]),
                ]
            ),
        ),
        (
            "(metrics.auc = 1 OR metrics.auc = 2) AND metrics.auc = 3",
            AllOf(
                [
                    AnyOf([Comparison(AUC, "=", [1.0]), Comparison(AUC, "=", [2.0])]),
                    Comparison(AUC, "=", [3.0]),
                ]
            ),
        ),
    ],
)
def test_a_filter_means(text: str, meaning: object) -> None:
    assert parse_filter(text) == meaning


@pytest.mark.parametrize(
    "text",
    [
        "metrics.auc",
        "metrics.auc >",
        "metrics.auc > 'high'",
        "metrics.auc like '1%'",
        "metrics. > 1",
        "tags.team = 3",
        "tags.team > 'a'",
        "tags.team = ads",
        "tags.team = `ads`",
        "tags.team in 'a'",
        "tags.team in ()",
        "tags.team in ('a'",
        "tags.team is",
        "nonsense = 'x'",
        "started like '2026%'",
        "metrics.auc > 1 metrics.auc < 2",
        "metrics.auc > 1 and",
        "(metrics.auc > 1",
        "metrics.auc > 1)",
        "metrics.auc > 1; drop table runs",
        "metrics.auc > 'unclosed",
        "tags.team = 'a\0'",
        "not " * 60 + "metrics.auc > 1",
        "(" * 60 + "metrics.auc > 1" + ")" * 60,
        "x" * 10_001,
    ],
)
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_filter(text)


def test_an_error_says_where() -> None:
    with pytest.raises(InvalidRequest, match=r"expected a number or a text in quotes at character 12, found 'ads'"):
        parse_filter("tags.team = ads")


def test_an_order_is_a_field_and_a_direction() -> None:
    assert parse_order("metrics.auc DESC") == Order(AUC, True)
    assert parse_order("started asc") == parse_order("started") == Order(Field("attribute", "started"))
    for text in ("", "metrics.auc down", "metrics.auc desc desc"):
        with pytest.raises(InvalidRequest):
            parse_order(text)
