"""Filters and orders of runs, in which a tag may stand for what we keep in a field of its own."""

from __future__ import annotations

from collections.abc import Iterable

from mainspring.core.errors import InvalidRequest
from mainspring.core.filters import translated
from mainspring.protocols.mlflow.run_entities import COMMIT, PARENT, RUN_NAME
from mainspring.tracking.search.filters import (
    AllOf,
    AnyOf,
    Comparison,
    Field,
    Filter,
    Order,
    parse_filter,
    parse_order,
)

_NAME = Field("attribute", "name")
_FIELDS = {PARENT: "parent", COMMIT: "commit"}


def read_filter(text: str) -> Filter:
    """Read a filter of runs; raises InvalidRequest."""
    return translated(parse_filter(text), _translated)


def read_orders(texts: Iterable[str]) -> list[Order]:
    """Read what runs are sorted by; raises InvalidRequest, also when a field comes twice."""
    orders = [parse_order(text) for text in texts]
    orders = [Order(_NAME, order.descending) if order.field == Field("tag", RUN_NAME) else order for order in orders]
    fields = [order.field for order in orders]
    twice = next((field for field in fields if fields.count(field) > 1), None)
    if twice is not None:
        raise InvalidRequest(f"`order_by` contains duplicate fields: {twice}")
    return orders


def _translated(where: Comparison) -> Filter:
    if where.field == Field("tag", RUN_NAME):
        return Comparison(_NAME, where.operator, where.values)
    name = _FIELDS.get(where.field.key) if where.field.entity == "tag" else None
    if name is None:
        return where
    # Runs that did not come over this protocol have the field only, and a tag may name what is no run here.
    either: list[Filter] = [where, Comparison(Field("attribute", name), where.operator, where.values)]
    return AllOf(either) if where.operator == "null" else AnyOf(either)
