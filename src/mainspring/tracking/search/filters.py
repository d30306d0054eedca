"""The language in which runs are searched: ``metrics.auc > 0.9 and (tags.team = 'ads' or params.model like 'gb%')``.

The grammar is that of `core.filters`; here is what a run has: ``metrics.KEY``, ``params.KEY``, ``tags.KEY``,
``datasets.NAME`` and its attributes.
"""

from __future__ import annotations

from mainspring.core import filters
from mainspring.core.errors import InvalidRequest
from mainspring.core.filters import AllOf, AnyOf, Comparison, Field, Filter, Not, Order
from mainspring.tracking.comparing.values import Kind, check

ENTITIES = {
    **dict.fromkeys(("metrics", "metric"), "metric"),
    **dict.fromkeys(("params", "param", "parameters", "parameter"), "param"),
    **dict.fromkeys(("tags", "tag"), "tag"),
    **dict.fromkeys(("attributes", "attribute", "attr", "run"), "attribute"),
    **dict.fromkeys(("datasets", "dataset"), "dataset"),
}
_ATTRIBUTES = {
    **dict.fromkeys(("id", "run_id"), "id"),
    **dict.fromkeys(("name", "run_name", "run name"), "name"),
    **dict.fromkeys(("started", "start_time", "created"), "started"),
    **dict.fromkeys(("ended", "end_time"), "ended"),
    **dict.fromkeys(("user", "user_id"), "user"),
    **{name: name for name in ("status", "parent", "commit", "branch", "artifact_uri")},
}
_KEPT_AS_TAGS = {
    "group": "mainspring.group",
    "starred": "mainspring.starred",
    "archived": "mainspring.archived",
    "forked_from": "mainspring.forked_from",
    "note": "mlflow.note.content",
}
"""Attributes that every client can read and set, as tags."""
_DATASET = ("name", "digest", "context")
_TIMES = ("started", "ended")

__all__ = ["AllOf", "AnyOf", "Comparison", "Field", "Filter", "Not", "Order", "kind_of", "parse_filter", "parse_order"]


def parse_filter(text: str) -> Filter:
    """Read a filter; an empty one is true of every run. Raises InvalidRequest that says where it went wrong."""
    return filters.translated(filters.parse_filter(text, ENTITIES), _resolved)


def parse_order(text: str) -> Order:
    """Read ``metrics.auc DESC``; raises InvalidRequest."""
    order = filters.parse_order(text, ENTITIES)
    if order.field.entity == "dataset":
        raise InvalidRequest(f"{text!r}: runs cannot be sorted by their datasets, of which they may have many")
    return Order(_known(order.field), order.descending)


def kind_of(field: Field) -> Kind:
    """Give what the values of a field are."""
    if field.entity == "metric":
        return "number"
    return "time" if field.entity == "attribute" and field.key in _TIMES else "text"


def _resolved(where: Comparison) -> Filter:
    field = _known(where.field)
    return check(Comparison(field, where.operator, where.values), kind_of(field))


def _known(field: Field) -> Field:
    if field.entity == "attribute":
        name = _ATTRIBUTES.get(field.key.lower())
        tag = _KEPT_AS_TAGS.get(field.key.lower())
        if tag is not None:
            return Field("tag", tag)
        if name is None:
            raise InvalidRequest(
                f"Invalid attribute key {field.key!r}: runs have metrics.NAME, params.NAME, tags.NAME, dataset.NAME "
                f"and {', '.join(sorted(set(_ATTRIBUTES.values())))}"
            )
        return Field("attribute", name)
    if field.entity == "dataset" and field.key not in _DATASET:
        raise InvalidRequest(f"Invalid dataset key {field.key!r}: expected one of {', '.join(_DATASET)}")
    return field
