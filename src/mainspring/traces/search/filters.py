"""The language in which traces are searched: ``status = 'ERROR' and span.name like 'find%' and feedback.good > 0.5``.

The grammar is that of `core.filters`; here is what a trace has: its attributes, alone or after ``trace.``;
``tags.KEY``, ``metadata.KEY``, ``span.(name | type | status | content)``, ``span.attributes.KEY``, ``feedback.NAME``,
``expectation.NAME`` and ``issue.id``. Comparisons of spans that AND joins are about one and the same span.
"""

from __future__ import annotations

import polars as pl
from polars.exceptions import ComputeError

from mainspring.core import filters
from mainspring.core.errors import InvalidRequest
from mainspring.core.filters import ATTRIBUTE, Comparison, Field, Filter, Order
from mainspring.traces.model import NAME_TAG

ENTITIES = {
    **dict.fromkeys(("trace", "attributes", "attribute"), ATTRIBUTE),
    **dict.fromkeys(("tags", "tag"), "tag"),
    **dict.fromkeys(("metadata", "request_metadata"), "metadata"),
    **{name: name for name in ("span", "feedback", "expectation", "issue")},
}
OF_SPANS = ("span", "span_attribute")
JUDGED = ("feedback", "expectation")
RUN, PROMPT = Field("link", "run"), Field("link", "prompt")
_NUMBERS = {
    **dict.fromkeys(("timestamp", "timestamp_ms", "request_time"), "started_ms"),
    **dict.fromkeys(("execution_time", "execution_time_ms", "execution_duration"), "duration_ms"),
    **dict.fromkeys(("end_time", "end_time_ms"), "ended_ms"),
}
_ATTRIBUTES = _NUMBERS | {
    **dict.fromkeys(("request_id", "trace_id"), "id"),
    **dict.fromkeys(("status", "state"), "state"),
    "client_request_id": "client_request",
    "experiment_id": "experiment",
}
_ALIASES = {"name": Field("tag", NAME_TAG), "run_id": RUN, "prompt": PROMPT}
_SPAN = ("name", "type", "status", "content")
_PATTERNS = ("like", "ilike", "rlike")
_ORDERED = ("<", "<=", ">", ">=")
_MAX_PATTERN_CHARS = 1_000


def parse_filter(text: str) -> Filter:
    """Read a filter; an empty one is true of every trace. Raises InvalidRequest that says where it went wrong."""
    return filters.translated(filters.parse_filter(text, ENTITIES, rlike=True), _resolved)


def parse_order(text: str) -> Order:
    """Read ``timestamp DESC`` or ``tags.team``; traces without the field come last. Raises InvalidRequest."""
    order = filters.parse_order(text, ENTITIES)
    field = _field(order.field)
    if field.entity not in (ATTRIBUTE, "tag", "metadata") and field != RUN:
        raise InvalidRequest(f"Invalid order {text!r}: traces are sorted by attributes, tags and metadata")
    return Order(field, order.descending)


def is_number(field: Field) -> bool:
    """Tell whether a field is compared with numbers only."""
    return field.entity == ATTRIBUTE and field.key.endswith("_ms")


def _resolved(where: Comparison) -> Filter:
    return _checked(Comparison(_field(where.field), where.operator, where.values))


def _field(said: Field) -> Field:
    if said.entity == ATTRIBUTE:
        return _attribute(said.key)
    if not said.key:
        raise InvalidRequest(f"the name of a {said.entity} is empty")
    if said.entity == "issue" and said.key != "id":
        raise InvalidRequest(f"Invalid issue attribute {said.key!r}: only issue.id is searched")
    if said.entity != "span":
        return said
    head, dot, rest = said.key.partition(".")
    if dot and head == "attributes":
        if not rest or '"' in rest or "\\" in rest:
            raise InvalidRequest(f"the attribute {rest!r} of a span cannot be searched: it is empty, or has quotes")
        return Field("span_attribute", rest)
    if said.key not in _SPAN:
        raise InvalidRequest(f"Invalid span attribute {said.key!r}: there are {', '.join(_SPAN)} and attributes.KEY")
    return said


def _attribute(name: str) -> Field:
    known = name.lower()
    if known == "text":
        return Field("span", "content")
    if known in _ALIASES:
        return _ALIASES[known]
    if known not in _ATTRIBUTES:
        names = ", ".join(sorted([*_ATTRIBUTES, *_ALIASES]))
        raise InvalidRequest(
            f"Invalid attribute key {name!r} of a trace: expected one of {names}, "
            "or tags.KEY, metadata.KEY, span.NAME, feedback.NAME, expectation.NAME"
        )
    return Field(ATTRIBUTE, _ATTRIBUTES[known])


def _checked(comparison: Comparison) -> Comparison:
    field, values, operator = comparison.field, comparison.values, comparison.operator
    if operator == "null":
        return comparison
    texts = [value for value in values if isinstance(value, str)]
    if is_number(field):
        if operator in _PATTERNS or texts:
            raise InvalidRequest(f"{field.key} is a number of milliseconds: compare it with numbers")
        return comparison
    if field.entity in JUDGED and operator in _ORDERED:
        if texts:
            raise InvalidRequest(f"Expected a numeric value for {field} with {operator}, got {texts[0]!r}")
        return comparison
    if operator in _ORDERED or len(texts) < len(values):
        raise InvalidRequest(f"{field}: Expected a quoted string value, compared by =, !=, LIKE, ILIKE, RLIKE or IN")
    if field.entity in ("issue", "link") and operator not in ("=", "in"):
        raise InvalidRequest(f"{field} is compared by = or IN")
    if field == PROMPT and any(text.count("/") != 1 for text in texts):
        raise InvalidRequest(f"Invalid prompt {texts[0]!r}: expected 'name/version'")
    if operator in _PATTERNS:
        _check_pattern(operator, texts[0])
    return comparison


def _check_pattern(operator: str, pattern: str) -> None:
    if len(pattern) > _MAX_PATTERN_CHARS:
        raise InvalidRequest(f"a pattern has at most {_MAX_PATTERN_CHARS} characters")
    if operator == "rlike":
        try:
            pl.Series([""]).str.contains(pattern)
        except ComputeError as error:
            raise InvalidRequest(f"{pattern!r} is no regular expression: {error}") from None
